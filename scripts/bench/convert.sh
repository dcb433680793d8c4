#!/usr/bin/env bash
# How long a conversion takes, against the time that reading the source and writing the result take
# by themselves, measured in turn; and how much memory. Usage: convert.sh [BITNET] [WORK_DIR]
#
#   TYPES="i2_s tl2"   only these (default: all of the table in convert/README.md)
#   ROUNDS=3           of which the fastest counts
#   EIGHT=0            without the 8B-shaped checkpoint, which takes 4 GB of disk for its result
#
# Makes a synthetic f32 checkpoint of the bitnet_b1_58-large shape (2.9 GB, once) and warms the page
# cache. "read + write" is dd over the source and a synced copy of the very result. The 8B-shaped bf16
# checkpoint (16 GB, a sparse file) is converted under 1 GB of private memory: ulimit -d counts heap,
# anonymous mappings and thread stacks; the mapped source and result can be dropped at any time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bitnet=$(realpath "${1:-$here/../../build/bitnet}")
work=${2:-${TMPDIR:-/tmp}/bitnet-bench}
types=${TYPES:-i2_s tl1 tl2 tq1_0 tq2_0 iq2_bn q8_0 q6_k q4_0 bf16 f16}
mkdir -p "$work"
trap 'rm -f "$work"/out.* "$work"/copy "$work"/time "$work"/log' EXIT

make() { # NAME OPTION...
    [ -e "$work/$1/config.json" ] || python3 "$here/make_checkpoint.py" "$work/$1" "${@:2}"
}

# Sets wall, cpu (user and system), private (kB beyond mapped files: what the kernel cannot drop).
run() { # COMMAND...
    /usr/bin/time -f "%e %U %S" -o "$work/time" "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    read -r wall user system <"$work/time"
}

smallest() { # NUMBER NUMBER
    awk -v a="$1" -v b="$2" 'BEGIN { print (a < b ? a : b) }'
}

make large --shape large
source=$work/large/model.safetensors
cat "$source" >/dev/null
echo "$(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), load $(cut -d' ' -f1 /proc/loadavg)"
echo "large f32, $(du -BM --apparent-size "$source" | cut -f1), every time verified against its source; seconds"
printf '%-8s %8s %12s %6s %8s %8s %10s\n' type convert read+write ratio user system result
for type in $types; do
    best=1e9 bound=1e9
    for _ in $(seq "${ROUNDS:-3}"); do
        run "$bitnet" convert "$work/large" --qtype "$type" --allow-lossy -o "$work/out.gguf" --force
        [ "$(smallest "$wall" "$best")" = "$best" ] || best=$wall best_user=$user best_system=$system
        run bash -c "dd if='$source' of=/dev/null bs=8M; dd if='$work/out.gguf' of='$work/copy' bs=8M conv=fsync"
        bound=$(smallest "$wall" "$bound")
        size=$(du -BM --apparent-size "$work/out.gguf" | cut -f1)
        rm -f "$work/copy" "$work/out.gguf"
    done
    printf '%-8s %8.2f %12.2f %6.2f %8.2f %8.2f %10s\n' "$type" "$best" "$bound" \
        "$(awk -v a="$best" -v b="$bound" 'BEGIN { print a / b }')" "$best_user" "$best_system" "$size"
done

# Peaks: all resident pages, and those of them that are not mapped files.
"$bitnet" convert "$work/large" --qtype i2_s -o "$work/out.gguf" --force >/dev/null 2>&1 &
pid=$! peak=0 private=0
while read -r rss anon < <(awk '/^VmRSS/ { r = $2 } /^RssAnon/ { a = $2 } END { print r, a }' "/proc/$pid/status" 2>/dev/null) &&
    [ -n "${anon:-}" ]; do
    [ "$rss" -le "$peak" ] || peak=$rss
    [ "$anon" -le "$private" ] || private=$anon
done
wait "$pid"
echo "i2_s: at most $((peak / 1024)) MB resident, $((private / 1024)) MB of it beyond mapped files"

[ "${EIGHT:-1}" != 0 ] || exit 0
make 8b --shape 8b --dtype bf16 --sparse
run bash -c "ulimit -d 1048576; exec '$bitnet' convert '$work/8b' --qtype i2_s -o '$work/out.gguf' --force"
printf '8B bf16 -> i2_s in 1 GB of private memory: %.1f s, %.1f s user\n' "$wall" "$user"
