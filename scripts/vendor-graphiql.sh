#!/usr/bin/env bash
# Makes the GraphiQL bundle that the server serves under /console: graphiql.min.js, graphiql.min.css and THIRD_PARTY.txt in
# assets/graphiql/. Needs Node 20 or newer with npm. The result is committed, so building the server needs neither.
#
#   scripts/vendor-graphiql.sh            install exactly what vendor/package-lock.json says, bundle, write the three files
#   scripts/vendor-graphiql.sh --check    the same into a temporary folder; fails if the committed files differ
#   scripts/vendor-graphiql.sh --relock   after changing a version in vendor/package.json: a new lock, then the three files
#
# Promises: nothing is installed outside a temporary folder, no install script of a package runs, the lock's checksums hold.
#
# Why GraphiQL 4: version 5 edits with Monaco, which needs web workers and several megabytes. Version 4 edits with CodeMirror,
# fits in one script, and works under a policy without inline styles once vendor/no-style-elements.js is in place.
# Why bundle, when 4 ships a UMD file: React 19 ships none, and the UMD file carries 370 KB of fonts in its style sheet.
# Before moving to a newer version: open every dialog of the page with the browser's console open, and look for policy reports.

set -euo pipefail

case "${1:-}" in
  "" | --check | --relock) mode="${1:-}" ;;
  *) echo "usage: $0 [--check | --relock]" >&2; exit 2 ;;
esac

home="$(cd "$(dirname "$0")/.." && pwd)/assets/graphiql"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/out"
cp "$home"/vendor/* "$work/"
cd "$work"

quiet=(--ignore-scripts --no-audit --no-fund --loglevel=error)
if [ "$mode" = --relock ]; then
  rm -f package-lock.json
  # Without addresses: whoever repeats this may use another mirror. The checksums stay.
  npm install --package-lock-only --omit-lockfile-registry-resolved "${quiet[@]}"
  cp package-lock.json "$home/vendor/package-lock.json"
fi
npm ci "${quiet[@]}"
node bundle.mjs out

if [ "$mode" = --check ]; then
  for file in graphiql.min.js graphiql.min.css THIRD_PARTY.txt; do
    cmp "out/$file" "$home/$file" || { echo "$file is not what vendor/ gives: run scripts/vendor-graphiql.sh" >&2; exit 1; }
  done
  echo "the GraphiQL bundle is what vendor/ gives"
else
  cp out/* "$home/"
  (cd "$home" && wc -c graphiql.min.js graphiql.min.css THIRD_PARTY.txt)
fi
