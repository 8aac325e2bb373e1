#!/usr/bin/env bash
# Prepares this machine: system packages, then .venv/ with CPU torch, the locked dependencies and the project itself.
# Safe to run again: the second run only looks whether anything has changed.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
pip=("$venv/bin/python" -m pip install -qq --disable-pip-version-check)
torch_index=https://download.pytorch.org/whl/cpu

say() { printf '\033[1m%s\033[0m\n' "$*"; }
fail() { printf '%s\n' "$@" >&2; exit 1; }

find_python() { # the first Python 3.11 to 3.13, or PYTHON from the environment
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "HighSync needs Python 3.11, 3.12 or 3.13; set PYTHON=/path/to/python if it is not on PATH."
}

missing_packages() { # names of the system packages that this machine lacks, on one line
  local missing=()
  command -v redis-server >/dev/null || missing+=("$1")
  local tool
  for tool in espeak-ng curl jq; do  # curl and jq: a test runs the examples of docs/api.md
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if [ "$(uname)" = Linux ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
  fi
  echo "${missing[*]}"
}

install_system_packages() {
  local packages as_root=()
  if [ "$(uname)" = Darwin ]; then
    packages=$(missing_packages redis)
    [ -z "$packages" ] || fail "Missing system packages. Install them, then run make again:" "  brew install $packages"
    return
  fi
  packages=$(missing_packages redis-server)
  [ -n "$packages" ] || return 0
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
    fail "Missing system packages. Install them, then run make again (Debian, Ubuntu):" \
      "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $packages"
  fi
  say "System packages: $packages"
  "${as_root[@]}" apt-get update -qq
  # shellcheck disable=SC2086 # one word per package
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $packages
}

fingerprint() { # changes when anything that went into .venv/ has changed
  { "$python" --version && cat scripts/setup.sh requirements/dev.lock requirements/torch-cpu.in pyproject.toml; } | cksum
}

install_torch() { # from the configured indexes; only when they lack it, from PyTorch's own
  local install=("${pip[@]}" --no-deps --requirement requirements/torch-cpu.in)
  "${install[@]}" 2>"$venv/torch.log" || "${install[@]}" --extra-index-url "$torch_index" ||
    fail "The CPU build of torch is neither in your package indexes nor at $torch_index:" "$(cat "$venv/torch.log")"
}

refuse_cuda_packages() {
  local found
  found=$("$venv/bin/python" -m pip list --format=freeze | grep -E '^(nvidia-|triton=)' || true)
  [ -z "$found" ] || fail "CUDA packages got into $venv, which is for the CPU. Remove $venv and run make setup again." "$found"
}

python=$(find_python)
install_system_packages
stamp=$venv/.setup-stamp
if [ -f $stamp ] && [ "$(cat $stamp)" = "$(fingerprint)" ]; then
  say "$venv is ready."
  exit 0
fi
say "Python: $("$python" --version) → $venv (some minutes the first time)"
[ -x $venv/bin/pip ] || "$python" -m venv $venv
install_torch
"${pip[@]}" --requirement requirements/dev.lock
"${pip[@]}" --no-deps --no-build-isolation --editable .
refuse_cuda_packages
fingerprint >$stamp
say "$venv is ready."
