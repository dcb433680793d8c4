#!/usr/bin/env bash
# How long a conversion takes, against the time that reading the source and writing the result take
# by themselves. Usage: convert.sh [BITNET] [WORK_DIR]
#
# Makes a synthetic f32 checkpoint of the bitnet_b1_58-large shape (2.9 GB, once), warms the page
# cache, converts it to I2_S and TL2 with and without the check against the source, and an 8B-shaped
# bf16 checkpoint (a sparse file) under a limit of 1 GB of private memory (ulimit -d).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bitnet=$(realpath "${1:-$here/../../build/bitnet}")
work=${2:-${TMPDIR:-/tmp}/bitnet-bench}
mkdir -p "$work"

make() { # NAME OPTION...
    [ -e "$work/$1/config.json" ] || python3 "$here/make_checkpoint.py" "$work/$1" "${@:2}"
}

timed() { # LABEL COMMAND...
    /usr/bin/time -f "%e %U %S %M" -o "$work/time" "${@:2}" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    read -r wall user system rss < "$work/time"
    printf '%-36s %7.2f s wall %7.2f s user %6.2f s system %7.0f MB largest\n' \
        "$1" "$wall" "$user" "$system" "$((rss / 1024))"
}

make large --shape large
cat "$work/large/model.safetensors" > /dev/null
echo "$(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), load $(cut -d' ' -f1 /proc/loadavg)"
timed "read 2.9 GB (warm)" dd if="$work/large/model.safetensors" of=/dev/null bs=8M
for type in i2_s tl2; do
    timed "large f32 -> $type, verified" "$bitnet" convert "$work/large" --qtype $type -o "$work/$type.gguf" --force
    timed "large f32 -> $type, --verify none" "$bitnet" convert "$work/large" --qtype $type -o "$work/$type.gguf" --force --verify none
done
timed "write $(du -h "$work/i2_s.gguf" | cut -f1), synced" dd if="$work/i2_s.gguf" of="$work/copy" bs=8M conv=fsync
rm -f "$work"/copy "$work"/*.gguf "$work"/*.ini

make 8b --shape 8b --dtype bf16 --sparse
(ulimit -d 1048576 && timed "8B bf16 -> i2_s, 1 GB private memory" "$bitnet" convert "$work/8b" --qtype i2_s -o "$work/8b.gguf" --force)
rm -f "$work/8b.gguf"
