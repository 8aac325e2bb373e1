#!/usr/bin/env bash
# Backs the studio stack up, while it runs, into a folder of this moment: records, files and .env, with the sha256 of each.
#   scripts/backup.sh [FOLDER]     without one: backups/DATE-TIME
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra compose <<<"${COMPOSE:-docker compose}"
folder=${1:-backups/$(date -u +%Y-%m-%dT%H-%M-%SZ)}

if [ -e "$folder" ]; then
  echo "$folder exists already." >&2
  exit 1
fi
umask 077
mkdir -p "$(dirname "$folder")"
parts=$(mktemp -d "$folder.XXXXXX") # what was broken off is never taken for a backup
trap 'rm -rf "$parts"' EXIT
parts=$(realpath "$parts")
cp .env "$parts/.env"
# By our own user id, so that the files are ours. The API's image has the command; nothing that runs is touched.
"${compose[@]}" run --rm --no-deps -T --user "$(id -u):$(id -g)" --volume "$parts:/backup" api \
  python -m cli backup /backup
mv "$parts" "$folder"
trap - EXIT
echo "The backup is in $folder. It has the secrets in it: keep it where secrets are kept, and not on this machine."
