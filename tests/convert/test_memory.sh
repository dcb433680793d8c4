#!/usr/bin/env bash
# A checkpoint of an 8B model's shape is converted in little private memory. Limited is what
# RLIMIT_DATA (ulimit -d) counts: heap, private anonymous mappings, thread stacks. Not limited are the
# mapped source and the mapped result, which the kernel can drop at any time.
#
# Usage: test_memory.sh BITNET MAKE_CHECKPOINT.PY [full]
# Without `full` the model has 1 of its 32 layers and a small vocabulary (0.4 GB, sparse), and may take
# 64 MB; with it, all of it (16 GB, sparse; writes 4 GB) and 1 GB.
set -euo pipefail
bitnet=$1
make=$2
command -v python3 >/dev/null || { echo "SKIPPED: no python3 to make the checkpoint"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/bitnet-memory-XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ "${3:-}" = full ]; then
    shape=() limit_kb=1048576 types="i2_s"
    free_kb=$(df --output=avail -k "$work" | tail -1)
    [ "$free_kb" -gt 6000000 ] || { echo "SKIPPED: less than 6 GB free for an 8B conversion"; exit 77; }
else
    shape=(--layers 1 --vocab 1024) limit_kb=65536 types="i2_s tl2"
fi
python3 "$make" "$work/model" --shape 8b --dtype bf16 --sparse "${shape[@]}" >/dev/null

expect_code() { # CODE COMMAND...
    local code=0
    "${@:2}" >"$work/log" 2>&1 || code=$?
    [ "$code" = "$1" ] || { echo "exit code $code, expected $1: ${*:2}"; cat "$work/log"; exit 1; }
}

# The limit is real: the sources' sizes do not fit into it.
expect_code 1 bash -c "ulimit -d $limit_kb; python3 -c 'bytearray($limit_kb * 1024)'"

for type in $types; do
    expect_code 0 bash -c "ulimit -d $limit_kb; exec '$bitnet' convert '$work/model' --qtype $type -t 2 -o '$work/out.gguf' --force"
    echo "$type: converted and verified in $((limit_kb / 1024)) MB of private memory"
done
[ "${3:-}" != full ] || exit 0

# --max-memory and BITNET_MEMORY_LIMIT: the same bytes, or refused before anything is written.
expect_code 0 env BITNET_MEMORY_LIMIT=100K "$bitnet" convert "$work/model" --qtype tl2 -t 2 -o "$work/tight.gguf" --max-memory 9M
cmp "$work/out.gguf" "$work/tight.gguf"
expect_code 8 "$bitnet" convert "$work/model" --qtype tl2 -t 2 -o "$work/no.gguf" --max-memory 100K
expect_code 8 env BITNET_MEMORY_LIMIT=100K "$bitnet" convert "$work/model" --qtype tl2 -t 2 -o "$work/no.gguf"
[ ! -e "$work/no.gguf" ]
echo "memory limits are kept: the same bytes, or refused"
