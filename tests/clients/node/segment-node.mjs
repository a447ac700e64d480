// Segment's server library for Node, as published, against a running server. All calls leave in one batch.

import { Analytics } from "@segment/analytics-node";
import { report, server, story } from "./story.mjs";

const client = "segment-node";
const messages = story(client);
const failures = [];
let delivered = 0;

// Two retries instead of ten: a server that refuses is reported within seconds.
const analytics = new Analytics({ ...server(), maxRetries: 2 });
analytics.on("error", ({ code, reason }) => failures.push(`${code}: ${reason}`));

for (const [call, message] of Object.entries(messages)) {
  analytics[call](message, (error) => {
    if (!error) delivered += 1;
  });
}
await analytics.closeAndFlush({ timeout: 60_000 });

report(client, { expected: Object.keys(messages).length, delivered, failures });
