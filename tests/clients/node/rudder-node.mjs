// RudderStack's server library for Node, as published, against a running server. The first call leaves alone and the others
// as one batch, both compressed and under a content type that is not JSON's.

import RudderAnalytics from "@rudderstack/rudder-sdk-node";
import { report, server, story } from "./story.mjs";

const client = "rudder-node";
const messages = story(client);
const { host, writeKey } = server();
const failures = [];
let delivered = 0;

const analytics = new RudderAnalytics(writeKey, {
  dataPlaneUrl: host,
  retryCount: 2,
  timeout: 20_000,
  // Only keeps flush() from throwing: each call's own callback hears of the same failure.
  errorHandler: () => {},
});

const answers = Object.entries(messages).map(
  ([call, message]) =>
    new Promise((answered) => {
      analytics[call](message, (error) => {
        if (error) failures.push(`${call}: ${error}`);
        else delivered += 1;
        answered();
      });
    }),
);
await analytics.flush();
await Promise.all(answers);

report(client, { expected: Object.keys(messages).length, delivered, failures });
