#!/usr/bin/env bash
# Pins every dependency anew from pyproject.toml: requirements/{dev,api,worker,torch-cpu,torch-cuda}.lock.
# The CPU build of torch is looked for in PIP_FIND_LINKS when that is set, else in PyTorch's own index.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=build/lock-tool
[ -x $tool/bin/uv ] || { python3 -m venv $tool && $tool/bin/pip install -qq 'uv>=0.11,<1'; }

if [ -n "${PIP_FIND_LINKS:-}" ]; then
  cpu_torch=(--find-links "$PIP_FIND_LINKS")
else
  cpu_torch=(--extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match)
fi

compile() { # LOCK INPUT-AND-OPTIONS...
  local lock=requirements/$1.lock
  shift
  $tool/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-header --annotation-style line --output-file "$lock" "$@"
  { echo "# Made by make lock: change pyproject.toml or requirements/*.in instead." && cat "$lock"; } >"$lock.new"
  mv "$lock.new" "$lock"
  echo "$lock: $(grep -c == "$lock") packages"
}

# What is developed with is what is deployed: the others are constrained by dev.lock.
compile dev pyproject.toml --all-extras requirements/torch-cpu.in --no-emit-package torch "${cpu_torch[@]}"
compile api pyproject.toml --extra tracing --constraints requirements/dev.lock --generate-hashes
compile worker pyproject.toml --extra model --extra tracing requirements/torch-cpu.in --no-emit-package torch \
  --constraints requirements/dev.lock --generate-hashes "${cpu_torch[@]}"
compile torch-cpu requirements/torch-cpu.in --constraints requirements/dev.lock --generate-hashes "${cpu_torch[@]}"
compile torch-cuda requirements/torch-cuda.in --constraints requirements/dev.lock --generate-hashes
