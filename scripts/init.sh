#!/usr/bin/env bash
# Makes .env with fresh random secrets for docker compose. Never touches one that is there.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -e .env ]; then
  echo ".env exists already and was left as it is: its secrets open the data of this installation." >&2
  exit 1
fi
secret() { od -An -vtx1 -N"$1" /dev/urandom | tr -d ' \n'; }

umask 077
# The keys of the storage have the form that Garage asks for; other gateways take any.
cat >.env.new <<EOF
# Secrets of this installation, made by make init. Keep this file: without it the stored data cannot be opened.
# Any other setting of docs/configuration.md may be added here as well.
HIGHSYNC_SECRET_KEY=$(secret 32)
HIGHSYNC_REDIS_PASSWORD=$(secret 24)
GRAFANA_ADMIN_PASSWORD=$(secret 12)
HIGHSYNC_S3_ACCESS_KEY=GK$(secret 12)
HIGHSYNC_S3_SECRET_KEY=$(secret 32)
HIGHSYNC_GARAGE_RPC_SECRET=$(secret 32)
EOF
mv -n .env.new .env
echo "Made .env with fresh secrets."
