#!/usr/bin/env bash
# Brings a backup of scripts/backup.sh back into an empty studio stack; the API and the workers must not run (make down).
#   scripts/restore.sh FOLDER            refuses when there is anything that would be lost
#   FORCE=1 scripts/restore.sh FOLDER    removes what this installation has
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra compose <<<"${COMPOSE:-docker compose}"
folder=$(realpath "${1:?Usage: scripts/restore.sh FOLDER}")
force=()
[ "${FORCE:-}" != 1 ] || force=(--force)

if ! (cd "$folder" && grep '  \.env$' SHA256SUMS | sha256sum --check --quiet --strict); then
  echo "The backup in $folder is not whole: nothing was changed." >&2
  exit 1
fi
if [ ! -e .env ]; then
  umask 077
  cp "$folder/.env" .env
  trap 'rm -f .env' EXIT # unless all went well
elif [ "$(grep ^HIGHSYNC_SECRET_KEY= .env)" != "$(grep ^HIGHSYNC_SECRET_KEY= "$folder/.env")" ]; then
  echo ".env has another HIGHSYNC_SECRET_KEY than the backup, which cannot be read with it. Move .env away, or change it." >&2
  exit 1
fi
"${compose[@]}" build api
# Starts Redis and the gateway, if need be, and nothing else.
"${compose[@]}" run --rm -T --user "$(id -u):$(id -g)" --volume "$folder:/backup:ro" api \
  python -m cli restore /backup "${force[@]}"
trap - EXIT
echo "Restored. Start the stack as you always do: make up"
