// Segment's browser library, as published, in a page of jsdom against a running server: once with the default delivery (one
// request per call) and once with batching.
//
// The page lives at another origin than the server, and jsdom has no fetch of its own, so the library sends through jsdom's
// XMLHttpRequest. That one asks with a preflight and enforces the answer: a CORS header missing on the server fails this
// script. (It is laxer than a browser in one point: it lets `Access-Control-Allow-Headers: *` cover Authorization.) The
// library's settings come from the server, its code from the installed package.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JSDOM, ResourceLoader, VirtualConsole } from "jsdom";
import { report, server, story } from "./story.mjs";

const PAGE = "http://shop.example.test/docs?utm_source=letter&utm_campaign=spring";
const LIBRARY = "http://shop.example.test/library/index.js";
// The whole story takes about two seconds; a library that retries against a refusing server never comes to rest.
const PATIENCE_MS = 20_000;

const { host, writeKey } = server();
const libraryFolder = join(
  dirname(createRequire(import.meta.url).resolve("@segment/analytics-next/package.json")),
  "dist/umd",
);

// Serves the library and the parts it loads later from the package, whatever host they are asked of, and nothing else.
class PackagedLibrary extends ResourceLoader {
  fetch(url) {
    const file = join(libraryFolder, basename(new URL(url).pathname));
    return Promise.resolve().then(() => readFileSync(file));
  }
}

// What a browser's network panel would show: every request with its final status, 0 when it was blocked or failed.
function watchNetwork(window, requests) {
  const { open, send } = window.XMLHttpRequest.prototype;
  window.XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    this.seen = { method: method.toUpperCase(), url: String(url), status: null, calls: 0 };
    return open.call(this, method, url, ...rest);
  };
  window.XMLHttpRequest.prototype.send = function (body) {
    const { seen } = this;
    if (body) seen.calls = JSON.parse(body).batch?.length ?? 1;
    requests.push(seen);
    this.addEventListener("loadend", () => {
      seen.status = this.status;
    });
    return send.call(this, body);
  };
}

async function visit(client, deliveryStrategy) {
  const requests = [];
  const failures = [];
  const virtualConsole = new VirtualConsole();
  virtualConsole.on("jsdomError", (error) => failures.push(`${client}: page: ${error.message}`));

  const { window } = new JSDOM(
    `<!doctype html><title>Docs</title><script src="${LIBRARY}"></script><p>Hello</p>`,
    {
      url: PAGE,
      referrer: "http://search.example.test/",
      pretendToBeVisual: true,
      runScripts: "dangerously",
      resources: new PackagedLibrary(),
      virtualConsole,
      beforeParse: (page) => watchNetwork(page, requests),
    },
  );
  await new Promise((loaded) => window.addEventListener("load", loaded));

  const messages = story(client);
  const expected = Object.keys(messages).length;
  const delivered = () => requests.filter(({ status }) => status === 200).reduce((sum, { calls }) => sum + calls, 0);
  try {
    const deadline = Date.now() + PATIENCE_MS;
    const outOfPatience = sleep(PATIENCE_MS).then(() => Promise.reject(new Error("the library waits for an answer")));
    await Promise.race([tell(window, messages, deliveryStrategy, failures), outOfPatience]);
    while (delivered() < expected && !requests.some(refused) && Date.now() < deadline) await sleep(50);
  } catch (error) {
    failures.push(`${client}: ${error.message ?? error.type}`);
  }
  for (const { method, url, status } of requests.filter(refused)) failures.push(`${client}: ${method} ${url}: ${status}`);
  window.close();
  return { expected, delivered: delivered(), failures };
}

function refused({ status }) {
  return status !== null && status !== 200;
}

// The promise of a call says that the library is done with it for now; the context it gives has logged what went wrong, also
// when the library means to try again. With batching it is done as soon as the call is in the batch, and only the network
// knows the rest.
async function tell(window, { identify, track, page, screen, group, alias }, deliveryStrategy, failures) {
  const { host: address, protocol } = new URL(host);
  const [analytics] = await window.AnalyticsNext.AnalyticsBrowser.load(
    { writeKey, cdnURL: host },
    {
      integrations: {
        "Segment.io": { apiHost: `${address}/v1`, protocol: protocol.replace(":", ""), deliveryStrategy },
      },
    },
  );
  analytics.setAnonymousId(identify.anonymousId);
  const contexts = await Promise.all([
    analytics.identify(identify.userId, identify.traits),
    analytics.track(track.event, track.properties, { timestamp: track.timestamp }),
    analytics.page(page.category, page.name, page.properties),
    analytics.screen(screen.category, screen.name, screen.properties),
    analytics.group(group.groupId, group.traits),
    analytics.alias(alias.userId, alias.previousId),
  ]);
  for (const context of contexts) {
    const error = context.logs().find(({ level }) => level === "error");
    if (error) failures.push(`${context.event.type}: ${error.message}: ${error.extras?.message ?? "no answer"}`);
  }
}

const single = await visit("segment-browser", undefined);
const batching = await visit("segment-browser-batching", { strategy: "batching", config: { timeout: 300 } });

report("segment-browser", {
  expected: single.expected + batching.expected,
  delivered: single.delivered + batching.delivered,
  failures: [...single.failures, ...batching.failures],
});
