// The one thing that this program must not lose: how far it has come.
import { open, readFile, rename } from "node:fs/promises";

/** The cursor that was kept last; undefined when there is none. */
export async function kept(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, "utf8")).trim() || undefined;
  } catch (problem) {
    if ((problem as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw problem;
  }
}

/** Keeps a cursor: whoever pulls the plug finds this one or the one before, and never half of it. */
export async function keep(file: string, cursor: string): Promise<void> {
  const beside = `${file}.new`;
  const written = await open(beside, "w");
  try {
    await written.writeFile(cursor);
    await written.sync();
  } finally {
    await written.close();
  }
  await rename(beside, file);
}
