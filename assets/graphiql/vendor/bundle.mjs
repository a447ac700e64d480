// Makes graphiql.min.js, graphiql.min.css and THIRD_PARTY.txt from the installed packages. Run by scripts/vendor-graphiql.sh,
// in a folder that holds this folder's files and node_modules: `node bundle.mjs OUTPUT_FOLDER`.
//
// Promises: the same packages give the same bytes; no package is in the bundle without its licence in THIRD_PARTY.txt;
// the bundle loads no font, worker, script or style from anywhere.

import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build, transform } from "esbuild";

const output = process.argv[2];
if (!output) throw new Error("usage: node bundle.mjs OUTPUT_FOLDER");

const BANNER = "/*! GraphiQL and what it stands on. Licences: THIRD_PARTY.txt. Made by scripts/vendor-graphiql.sh; do not edit. */";

// Packages that come without a licence file, and the package of the same authors, under the same licence, that has it.
const LICENCE_FOUND_IN = {
  "@graphiql/plugin-doc-explorer": "graphiql",
  "@graphiql/plugin-history": "graphiql",
  "react-compiler-runtime": "react",
  "react-remove-scroll-bar": "react-remove-scroll",
  "toggle-selection": "copy-to-clipboard",
};

// Shipped fonts were 370 KB of 420; the reader's own do as well.
const FONTS = {
  '--font-family: "Roboto", sans-serif;': "--font-family: system-ui, sans-serif;",
  '--font-family-mono: "Fira Code", monospace;':
    '--font-family-mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;',
};

async function bundleScript() {
  const { outputFiles, metafile } = await build({
    entryPoints: ["entry.js"],
    bundle: true,
    format: "iife",
    globalName: "GraphiQLBundle",
    target: "es2022",
    minify: true,
    charset: "utf8",
    legalComments: "none", // they are in THIRD_PARTY.txt, whole
    banner: { js: BANNER },
    define: { "process.env.NODE_ENV": '"production"' },
    alias: { "react-style-singleton": "./no-style-elements.js" },
    outfile: "graphiql.min.js",
    metafile: true,
    write: false,
  });
  const [{ inputs }] = Object.values(metafile.outputs);
  const used = Object.keys(inputs).filter((file) => inputs[file].bytesInOutput > 0);
  return { script: outputFiles[0].text, packages: packagesOf(used) };
}

async function bundleStyle() {
  let css = readFileSync("node_modules/graphiql/dist/style.css", "utf8").replace(/@font-face\s*\{[^}]*\}/g, "");
  for (const [theirs, ours] of Object.entries(FONTS)) {
    if (!css.includes(theirs)) throw new Error(`style.css no longer has \`${theirs}\`: look at the fonts again`);
    css = css.replace(theirs, ours);
  }
  const { code } = await transform(css, { loader: "css", minify: true, legalComments: "none" });
  return `${BANNER}\n${code}`;
}

// "node_modules/a/node_modules/@b/c/dist/d.js" is in the package at "node_modules/a/node_modules/@b/c".
function packagesOf(files) {
  const folders = new Set();
  for (const file of files) {
    const start = file.lastIndexOf("node_modules/");
    if (start < 0) continue;
    const inside = file.slice(start + "node_modules/".length).split("/");
    const name = inside.slice(0, inside[0].startsWith("@") ? 2 : 1).join("/");
    folders.add(file.slice(0, start) + "node_modules/" + name);
  }
  return [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return { name, version, license, text: licenceText(folder, name) };
  });
}

function licenceText(folder, name) {
  const home = LICENCE_FOUND_IN[name] ? join("node_modules", LICENCE_FOUND_IN[name]) : folder;
  const file = existsSync(home) && readdirSync(home).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
  if (!file) throw new Error(`no licence file for ${name}: find its licence and name it in LICENCE_FOUND_IN`);
  const notice = readdirSync(home).find((entry) => /^notice/i.test(entry));
  return [file, notice]
    .filter(Boolean)
    .map((entry) => readFileSync(join(home, entry), "utf8").replace(/\r\n/g, "\n").replace(/[ \t]+$/gm, "").trim())
    .join("\n\n");
}

// Packages with the same text stand together above it.
function thirdParty(packages) {
  const byText = new Map();
  for (const one of packages) byText.set(one.text, [...(byText.get(one.text) ?? []), one]);

  const rule = "=".repeat(80);
  const sections = [...byText].map(([text, group]) => {
    const heads = group.map(({ name, version, license }) => `${name} ${version} (${license})`);
    return `${rule}\n${heads.join("\n")}\n${rule}\n\n${text}\n`;
  });
  const opening =
    "graphiql.min.js and graphiql.min.css contain the packages below, minified and, where noted in\n" +
    "assets/graphiql/vendor/, with parts left out. Each stands above its licence.\n" +
    "This list is made by scripts/vendor-graphiql.sh; do not edit.\n";
  return [opening, ...sections].join("\n");
}

const SCRIPT_LOADS = [/\bnew (Shared)?Worker\b/, /\bimportScripts\b/, /\bimport\(/, /sourceMappingURL/];
const STYLE_LOADS = [/@import\b/, /@font-face/, /url\((?!"?data:)/, /sourceMappingURL/];

function refuseLoading(name, text, signs) {
  for (const sign of signs) if (sign.test(text)) throw new Error(`${name} would load something: it has ${sign}`);
}

const { script, packages } = await bundleScript();
const style = await bundleStyle();
refuseLoading("graphiql.min.js", script, SCRIPT_LOADS);
refuseLoading("graphiql.min.css", style, STYLE_LOADS);
writeFileSync(join(output, "graphiql.min.js"), script);
writeFileSync(join(output, "graphiql.min.css"), style);
writeFileSync(join(output, "THIRD_PARTY.txt"), thirdParty(packages));
