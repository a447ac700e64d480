// Makes src/generated.ts: the types of src/feed.graphql and its operations as texts, from the schema that the server promises. Without the
// command line of graphql-codegen, which alone would bring some hundred packages.
import { readFile, writeFile } from "node:fs/promises";
import { codegen } from "@graphql-codegen/core";
import * as operations from "@graphql-codegen/typescript-operations";
import { parse, print } from "graphql";

const read = async (file) => parse(await readFile(file, "utf8"));
const schema = process.env.TRIBUTARY_SCHEMA ?? new URL("../../schema.graphql", import.meta.url);
const filename = "src/generated.ts";
const document = await read("src/feed.graphql");
const text = await codegen({
  filename,
  schema: await read(schema),
  documents: [{ location: "src/feed.graphql", document }],
  pluginMap: { operations },
  plugins: [{ operations: { scalars: { Cursor: "string", DateTime: "string", Int64: "number", JSON: "unknown" }, enumsAsTypes: true } }],
  config: {},
});
const texts = document.definitions.map((operation) => `export const ${operation.name.value}Document = ${JSON.stringify(print(operation))};\n`);
await writeFile(filename, `${text}\n${texts.join("")}`);
