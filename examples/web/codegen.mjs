// Makes src/generated.ts: the types of src/me.graphql, from the schema that the server promises. Without the command line of
// graphql-codegen, which alone would bring some hundred packages.
import { readFile, writeFile } from "node:fs/promises";
import { codegen } from "@graphql-codegen/core";
import * as operations from "@graphql-codegen/typescript-operations";
import { parse } from "graphql";

const read = async (file) => parse(await readFile(file, "utf8"));
const schema = process.env.TRIBUTARY_SCHEMA ?? new URL("../../schema.graphql", import.meta.url);
const filename = "src/generated.ts";
const text = await codegen({
  filename,
  schema: await read(schema),
  documents: [{ location: "src/me.graphql", document: await read("src/me.graphql") }],
  pluginMap: { operations },
  plugins: [{ operations: { scalars: { DateTime: "string" }, enumsAsTypes: true } }],
  config: {},
});
await writeFile(filename, `${text}\nexport const MeDocument = ${JSON.stringify(await readFile("src/me.graphql", "utf8"))};\n`);
