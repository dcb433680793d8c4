#!/bin/sh
# Makes the Python environment that the oracles and the tiny model's training share, or finds it already made.
#
#   BITNET_VENV=DIR   where it lives (default: build/venv under the repository root)
#   PYTHON=python3    the interpreter that makes it (3.11 or newer)
#
# Everything comes from PyPI at the versions in requirements.txt. On x86-64 Linux that is about 4.7 GB on disk, nearly
# all of it the NVIDIA libraries that PyPI's torch is linked with; no GPU is needed. A stamp holding the checksum of the
# list makes a second run a matter of milliseconds. Prints the interpreter's path, so that this works:
#
#   $(scripts/oracle/venv.sh) scripts/tiny/evaluate.py
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
venv=${BITNET_VENV:-$root/build/venv}
list=$here/requirements.txt
stamp=$venv/requirements.cksum
sum=$(cksum <"$list")

if [ ! -x "$venv/bin/python" ] || [ "$(cat "$stamp" 2>/dev/null || true)" != "$sum" ]; then
    rm -f "$stamp"
    "${PYTHON:-python3}" -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --no-cache-dir --no-deps -r "$list" >&2
    "$venv/bin/python" -c 'import torch, transformers, tokenizers, safetensors, gguf' >&2
    printf '%s\n' "$sum" >"$stamp"
fi
printf '%s\n' "$venv/bin/python"
