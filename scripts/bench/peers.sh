#!/usr/bin/env bash
# Speed beside other programs, in one interleaved run, on files of the shape of BitNet-2B-4T (or
# another that make_model knows): llama.cpp, as its Python bindings xllamacpp bring it, on TQ2_0 and
# TQ1_0, and, with --transformers, transformers in bf16. Ours runs TQ2_0, too, and I2_S; and
# once with AVX2 only, which is what xllamacpp is compiled for.
#
# usage: scripts/bench/peers.sh [--shape S] [--threads N] [--rounds R] [--transformers] [--before CMD]
#   $BITNET_BUILD    the build folder (default: build); `bitnet` and `make_model` must be in it
#   $BITNET_VENV     the Python environment, made when it is missing (about 5 GB; default: build/venv)
#   --before CMD     put before every measured program, such as "taskset -c 0,1"
#   --json FILE      keep all measurements
# Current llama.cpp does not know bitnet-b1.58, so the files say "bitnet": the same matrices, and
# SiLU instead of squared ReLU.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BITNET_BUILD:-build}
shape=2b4t threads=2 rounds=3 before="" extra=() contenders=()
while [ $# -gt 0 ]; do
    case $1 in
    --shape) shape=$2 && shift ;;
    --threads) threads=$2 && shift ;;
    --rounds) rounds=$2 && shift ;;
    --before) before=$2 && shift ;;
    --json) extra+=(--json "$2") && shift ;;
    --transformers) contenders+=("transformers=$shape") ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done
bitnet=$build/bitnet make_model=$build/tests/runtime/make_model
for program in "$bitnet" "$make_model"; do
    [ -x "$program" ] || { echo "peers.sh: no $program; build it, or say where in BITNET_BUILD" >&2; exit 4; }
done
python=$(scripts/oracle/venv.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for type in tq2_0 tq1_0 i2_s; do
    "$make_model" "$shape" $type "$work/$shape-$type.gguf" q6_k 1 q6_k bitnet
done
"$python" -c 'import importlib.metadata as m; print("llama.cpp of xllamacpp", m.version("xllamacpp"))' >&2
"$python" scripts/bench/peers.py --bitnet "$bitnet" --threads "$threads" --rounds "$rounds" --before "$before" \
    ${extra[@]+"${extra[@]}"} "llama.cpp=$work/$shape-tq2_0.gguf" "llama.cpp=$work/$shape-tq1_0.gguf" \
    ${contenders[@]+"${contenders[@]}"} "bitnet=$work/$shape-tq2_0.gguf" "bitnet=$work/$shape-i2_s.gguf" \
    "bitnet:avx2=$work/$shape-tq2_0.gguf"
