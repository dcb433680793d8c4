#!/bin/sh
# The tiny model from nothing: environment, training, checkpoint, held-out text, perplexity beside its floor, fixtures.
#
#   MINUTES=45        how long to train
#   WORK=build/tiny   where the masters go
#   BITNET_VENV=DIR   the Python environment, see scripts/oracle/venv.sh
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
cd "$root"
work=${WORK:-build/tiny}
out=models/tiny
python=$(scripts/oracle/venv.sh)
mkdir -p "$work" "$out"

"$python" scripts/tiny/grammar.py --seed 7 --stories 1000 --check
"$python" scripts/tiny/train.py --minutes "${MINUTES:-45}" --compile --out "$work"
"$python" scripts/tiny/export.py --trained "$work" --out "$out"
"$python" scripts/tiny/grammar.py --seed 900001 --stories 250 >"$out/heldout.txt"
"$python" scripts/tiny/evaluate.py --model "$out" --text "$out/heldout.txt" --ctx 512 256 \
    --dtype float32 bfloat16 --ask 200 >"$work/evaluation.json"
cat "$work/evaluation.json"
"$python" scripts/oracle/record_tiny.py
