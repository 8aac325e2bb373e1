#!/usr/bin/env bash
# The compose stack for real, without a GPU: builds both images, brings the stack up from a copy of its files, dubs through the published
# port, kills containers in the middle of jobs, puts TLS in front, and tells what came of it. Takes the stack's own ports; make setup first.
#   tests/stack/run.sh                          with Docker, and the images that docker-compose.yml names
#   tests/stack/run.sh path/to/containers.sh    without Docker and without a registry: a script with the commands `setup`,
#       `build TAG CONTEXT ARGS…` (buildah) and `compose DIR COMMAND` (docker-compose over podman); images of others are replaced by
#       those of tests/stack/Dockerfile. WHEELS names a folder with the CPU build of torch, if PyTorch's index cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
containers=${1:+$(realpath "$1")}
revision=$(git rev-parse HEAD)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r docker-compose.yml deploy scripts "$folder"
mkdir -p "$folder/tests" && cp -r tests/stack "$folder/tests"
"$folder/scripts/init.sh"

build() { # TAG TARGET ARGS...
  local tag=$1 target=$2
  shift 2
  if [ -n "$containers" ]; then
    nice bash "$containers" build "$tag" "$root" --layers --target "$target" "$@"
  else
    docker build --tag "$tag" --target "$target" "$@" "$root"
  fi
}

from=(-f "$root/Dockerfile.gpu" --build-arg "REVISION=$revision")
cpu=(--build-arg TORCH=cpu)
[ -z "${WHEELS:-}" ] || cpu+=(--build-arg TORCH_CPU_INDEX= --build-arg PIP_FIND_LINKS=/wheels --volume "$WHEELS:/wheels:ro")
[ -z "$containers" ] || bash "$containers" setup
build highsync/api:0.1.0 api "${from[@]}"
build highsync/worker:0.1.0-cpu worker "${from[@]}" "${cpu[@]}"

export PYTHONPATH=$root
if [ -n "$containers" ]; then
  for service in redis s3 prometheus caddy; do
    build "localhost/stand-in-$service" "$service" -f "$root/tests/stack/Dockerfile"
  done
  bash "$containers" compose "$folder" "$root/.venv/bin/python -m tests.stack --stand-ins"
else
  (cd "$folder" && "$root/.venv/bin/python" -m tests.stack)
fi
