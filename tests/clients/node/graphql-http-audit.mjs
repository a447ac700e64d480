// The published conformance suite of "GraphQL over HTTP" against a running server. Prints the audits that did not pass by level,
// each with its id, its name and the server's reason; the test decides which of them are accepted.

import { auditServer } from "graphql-http";

const { TRIBUTARY_HOST: host, TRIBUTARY_KEY: key } = process.env;
if (!host || !key) throw new Error("TRIBUTARY_HOST and TRIBUTARY_KEY must be set");

// The suite knows of no keys.
const fetchFn = (url, options = {}) =>
  fetch(url, { ...options, headers: { ...options.headers, authorization: `Bearer ${key}` } });

const results = await auditServer({ url: `${host}/graphql`, fetchFn });
const failures = { MUST: [], SHOULD: [], MAY: [] };
for (const { id, name, status, reason } of results) {
  if (status === "ok") continue;
  const level = name.split(" ", 1)[0];
  if (!(level in failures)) throw new Error(`audit ${id} has the unknown level ${level}`);
  failures[level].push({ id, name, reason });
}
process.stdout.write(`${JSON.stringify({ audits: results.length, failures })}\n`);
