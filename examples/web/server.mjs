// The company's back end: it knows who has signed in, and for them it signs a token that lives ten minutes. Here everybody is $SIGNED_IN.
import { createPrivateKey, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const { TRIBUTARY_URL: url, KEY_ID: kid, PRIVATE_KEY, SIGNED_IN: sub, PORT = "3000" } = process.env;
const key = createPrivateKey(PRIVATE_KEY);
const part = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");
const now = () => Math.floor(Date.now() / 1000);

function token() {
  const text = `${part({ alg: "EdDSA", kid })}.${part({ sub, kind: "USER_ID", iat: now(), exp: now() + 600 })}`;
  return `${text}.${sign(null, text, key).toString("base64url")}`;
}

const files = { "/": ["index.html", "text/html"], "/main.js": ["dist/main.js", "text/javascript"], "/generated.js": ["dist/generated.js", "text/javascript"] };
createServer(async (request, response) => {
  if (request.url === "/session" && request.method === "POST") return response.end(JSON.stringify({ url, token: token() }));
  const [file, type] = files[request.url] ?? [];
  if (!file) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": `${type}; charset=utf-8`, "cache-control": "no-store" });
  response.end(await readFile(new URL(file, import.meta.url)));
}).listen(Number(PORT), "127.0.0.1");
