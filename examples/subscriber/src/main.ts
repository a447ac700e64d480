// Follows the change log of Tributary and prints every change as a line of JSON. Where it is stands in a file, so that it may be stopped,
// killed and started again, and so may the server: no change is missed. One that was printed just before a crash may be printed again;
// `cursor` tells the two apart.
import { createClient, type SubscribePayload } from "graphql-ws";
import { WebSocket } from "ws";
import {
  ChangesDocument,
  CustomersDocument,
  HeadDocument,
  type ChangesSubscription,
  type ChangesSubscriptionVariables,
  type CustomersQuery,
  type CustomersQueryVariables,
  type HeadQuery,
} from "./generated.js";
import { keep, kept } from "./kept.js";

const server = process.env.TRIBUTARY_URL ?? "http://127.0.0.1:8080";
const key = process.env.TRIBUTARY_KEY ?? "";
const cursorFile = process.env.CURSOR_FILE ?? "cursor.txt";

/** Closing codes that another attempt does not change: a wrong or revoked key, or a fault of this program. */
const FINAL = new Set([1003, 1008, 1009, 4400, 4401, 4403, 4406, 4409, 4429]);
/** Refusals that another attempt may change. */
const PASSING = new Set(["SLOW_CONSUMER", "TOO_MANY_SUBSCRIPTIONS", "UNAVAILABLE", "OVERLOADED", "INTERNAL", "NOT_YET"]);
/** Heartbeats come every 15 seconds: after so long without anything the connection is dead, though nobody has closed it. */
const SILENCE = 45_000;
const LONGEST_PAUSE = 10_000;

/** What may be tried again. Everything else ends the program. */
class Passing extends Error {}
/** The log no longer has what follows the cursor, or is not the log that the cursor was made in. */
class BeginAnew extends Error {}

type Refusal = { message: string; extensions?: { code?: unknown } };

/** A line of output; resolved when it is written, so that the cursor is never ahead of the output. */
function print(line: object): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${JSON.stringify(line)}\n`, (problem) => (problem ? reject(problem) : resolve()));
  });
}

function refused({ message, extensions }: Refusal): Error {
  const code = String(extensions?.code ?? "");
  if (code === "CURSOR_EXPIRED" || code === "CURSOR_EPOCH") return new BeginAnew(`${code}: ${message}`);
  return PASSING.has(code) ? new Passing(`${code}: ${message}`) : new Error(`${code}: ${message}`);
}

/** What a subscription ended with: refusals, a closing code, an event of the socket, or an error of our own. */
function ending(problem: unknown): Error {
  if (Array.isArray(problem)) return refused(problem[0] as Refusal);
  if (typeof problem === "object" && problem !== null && "code" in problem && "reason" in problem) {
    const { code, reason } = problem as { code: number; reason: string };
    const text = `closed with ${code} ${reason}`;
    return FINAL.has(code) ? new Error(text) : new Passing(text);
  }
  if (problem instanceof Error) return problem;
  // Nobody listens there.
  return new Passing((problem as { message?: string } | null)?.message ?? "the socket failed");
}

async function ask<Data, Variables extends object = object>(query: string, variables?: Variables): Promise<Data> {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const asked = { method: "POST", headers, body: JSON.stringify({ query, variables }) };
  const response = await fetch(`${server}/graphql`, asked).catch((problem: Error) => {
    throw new Passing(problem.message);
  });
  if (response.status === 429 || response.status >= 500) throw new Passing(`${server} answers ${response.status}`);
  const answer = (await response.json()) as { data?: Data; errors?: Refusal[] };
  if (answer.errors?.[0]) throw refused(answer.errors[0]);
  if (!response.ok || !answer.data) throw new Error(`${server} answers ${response.status}`);
  return answer.data;
}

/** Reads everybody, and answers from where to go on. What changes meanwhile is printed again as a change, and nothing is missed. */
async function beginAnew(): Promise<string> {
  const { feedHead } = await ask<HeadQuery>(HeadDocument);
  let after: string | null = null;
  do {
    const { customers }: CustomersQuery = await ask<CustomersQuery, CustomersQueryVariables>(CustomersDocument, { after });
    for (const customer of customers.nodes) await print({ customer });
    after = customers.pageInfo.hasNextPage ? customers.pageInfo.endCursor ?? null : null;
  } while (after);
  await keep(cursorFile, feedHead.head);
  return feedHead.head;
}

/** Follows the log behind a cursor until the connection ends. */
async function follow(cursor: string, progress: () => void): Promise<never> {
  const client = createClient({
    url: `${server.replace(/^http/, "ws")}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${key}` },
    // The loop below connects again, from the cursor that was kept.
    retryAttempts: 0,
  });
  const variables: ChangesSubscriptionVariables = { start: { after: cursor } };
  const payload: SubscribePayload = { query: ChangesDocument, variables };
  let silence = setTimeout(() => client.terminate(), SILENCE);
  try {
    for await (const { data, errors } of client.iterate<ChangesSubscription>(payload)) {
      if (errors?.[0]) throw errors;
      if (!data) continue;
      clearTimeout(silence);
      for (const change of data.changes.changes) await print({ change });
      // Not before everything of the batch is done: whoever is killed in between does it again.
      await keep(cursorFile, data.changes.cursor);
      progress();
      silence = setTimeout(() => client.terminate(), SILENCE);
    }
  } catch (problem) {
    throw ending(problem);
  } finally {
    clearTimeout(silence);
    await client.dispose();
  }
  throw new Passing("the server has ended the subscription");
}

let pause = 0;
for (;;) {
  try {
    const cursor = (await kept(cursorFile)) ?? (await beginAnew());
    await follow(cursor, () => (pause = 0));
  } catch (problem) {
    if (problem instanceof BeginAnew) {
      console.error(`${problem.message}; reading everybody anew`);
      // Empty: whoever is killed while reading everybody begins with that again.
      await keep(cursorFile, "");
      continue;
    }
    if (!(problem instanceof Passing)) {
      console.error(problem instanceof Error ? problem.message : problem);
      process.exit(1);
    }
    pause = Math.min(pause * 2 || 100, LONGEST_PAUSE);
    console.error(`${problem.message}; again in ${pause} ms`);
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
  }
}
