#!/usr/bin/env bash
# Measures `tributary import`: rows a second and the most memory it ever had.
#   benches/import/run.sh target/release/tributary sqlite:///tmp/import.db [PEOPLE]
#   benches/import/run.sh target/release/tributary postgres://postgres@localhost/import [PEOPLE]
# The database must be empty. PEOPLE (200000) people are made, and four times as many events and orders. Needs python3 and GNU time.
set -euo pipefail
binary=$1 url=$2 people=${3:-200000}
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 "$here/generate.py" "$people" "$folder"
export TRIBUTARY_DATABASE__URL=$url
"$binary" migrate
"$binary" source add --key bench --channel import > /dev/null
for file in people.csv doings.ndjson people.csv; do
  # The third time nothing is new.
  if command -v /usr/bin/time > /dev/null; then
    /usr/bin/time -f "%M kB at most, %U s user, %S s system" "$binary" import "$folder/$file" --source bench 2> "$folder/told"
    tail -n 1 "$folder/told"
  else
    "$binary" import "$folder/$file" --source bench 2> "$folder/told"
  fi
done
