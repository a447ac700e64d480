// The published clients of graphql-transport-ws and GraphQL over SSE against a running server. Prints what each of them saw; the test
// decides whether that is right.

import { createClient as overSse } from "graphql-sse";
import { createClient as overSocket } from "graphql-ws";
import WebSocket from "ws";

const { TRIBUTARY_HOST: host, TRIBUTARY_KEY: key } = process.env;
if (!host || !key) throw new Error("TRIBUTARY_HOST and TRIBUTARY_KEY must be set");

const authorization = `Bearer ${key}`;
const subscription = "subscription { changes(start: { fromNow: true }, heartbeatSeconds: 1) { heartbeat cursor } }";

// One answer to a query, then three batches of a subscription, which the client ends.
async function story(client) {
  const once = [];
  for await (const result of client.iterate({ query: "query Q($n: Int!) { __typename customers(first: $n) { totalCount } }", variables: { n: 1 } })) {
    once.push(result);
  }
  const batches = [];
  for await (const result of client.iterate({ query: subscription })) {
    batches.push(result);
    if (batches.length === 3) break;
  }
  return { once, batches };
}

// What the client throws at an operation that is refused.
async function refusal(client, query) {
  try {
    for await (const result of client.iterate({ query })) return { result };
    return {};
  } catch (error) {
    if (Array.isArray(error)) return { errors: error };
    // The SSE client hands over the response.
    if (error.response) return { status: error.response.status };
    return { code: error.code, reason: error.reason, message: error.message };
  }
}

const closed = [];
const socket = overSocket({
  url: `${host.replace(/^http/, "ws")}/graphql`,
  webSocketImpl: WebSocket,
  connectionParams: { authorization },
  retryAttempts: 0,
  on: { closed: (event) => closed.push(event.code) },
});
const ws = await story(socket);
ws.refused = await refusal(socket, "{ nothing }");
await socket.dispose();

const stranger = overSocket({
  url: `${host.replace(/^http/, "ws")}/graphql`,
  webSocketImpl: WebSocket,
  connectionParams: { authorization: "Bearer nobody" },
  retryAttempts: 0,
});
ws.stranger = await refusal(stranger, "{ __typename }");

const events = overSse({ url: `${host}/graphql`, headers: { authorization }, retryAttempts: 0 });
const sse = await story(events);
sse.refused = await refusal(events, "{ nothing }");
sse.stranger = await refusal(
  overSse({ url: `${host}/graphql`, headers: { authorization: "Bearer nobody" }, retryAttempts: 0 }),
  "{ __typename }",
);
events.dispose();

process.stdout.write(`${JSON.stringify({ ws, sse, closed })}\n`);
process.exit(0);
