#!/usr/bin/env bash
# The main job, offline, on the small real model in models/tiny: convert its checkpoint to F16, I2_S
# and TL2 (each file is read back and compared with its source before it gets its name), compare
# perplexity and logits with what transformers computed, generate text. Installs the Debian packages
# it lacks.
#
#   scripts/demo.sh [FOLDER]       FOLDER for the files made; default build/demo
set -eu
cd "$(dirname "$0")/.."
build=${BITNET_BUILD:-$PWD/build}/release
out=${1:-${BITNET_BUILD:-$PWD/build}/demo}
model=models/tiny
text=$model/heldout.txt
reference=tests/golden/tiny
mkdir -p "$build" "$out"

echo "Building (log: $build/build.log)"
scripts/packages.sh build
{ cmake -S . -B "$build" -G Ninja -DBITNET_TESTS=OFF && ninja -C "$build" bitnet logit-difference; } >"$build/build.log" 2>&1 || {
    tail -30 "$build/build.log" >&2
    exit 1
}
bitnet=$build/bitnet

field() { # JSON name, from standard input: the value of a top-level number
    sed -n "s/.*\"$1\"[[:space:]]*:[[:space:]]*\([-0-9.eE+]*\).*/\1/p" | head -n 1
}

echo
printf '%-6s %12s %12s %12s %22s %10s\n' type 'file bytes' bits/weight perplexity 'largest logit diff.' tokens/s
for type in f16 i2_s tl2; do
    file=$out/tiny-$type.gguf
    "$bitnet" convert "$model" --qtype "$type" -o "$file" --force --json >"$out/$type.convert.json"
    "$bitnet" perplexity -m "$file" -f "$text" -c 512 --json >"$out/$type.perplexity.json"
    "$build/logit-difference" "$file" "$reference" >"$out/$type.logits.json"
    "$bitnet" bench -m "$file" -p 0 -n 64 -r 2 -o json >"$out/$type.bench.json" 2>"$out/$type.bench.log"
    bytes=$(wc -c <"$file")
    parameters=$(field parameters <"$out/$type.convert.json")
    printf '%-6s %12s %12.2f %12.4f %22.4f %10.0f\n' "$type" "$bytes" \
        "$(awk -v b="$bytes" -v n="$parameters" 'BEGIN { print 8 * b / n }')" \
        "$(field perplexity <"$out/$type.perplexity.json")" \
        "$(field max_difference <"$out/$type.logits.json")" \
        "$(field tokens_per_second <"$out/$type.bench.json")"
done
printf '%-6s %12s %12s %12.4f %22s\n' source "$(wc -c <$model/model.safetensors)" '' \
    "$(sed -n '/"float32"/,$p' $reference/perplexity.json | sed -n '/"ctx512"/,$p' | field perplexity)" \
    '(transformers)'

echo
echo "Text from tiny-tl2.gguf, greedy:"
"$bitnet" cli -m "$out/tiny-tl2.gguf" -p "$(head -c 60 $text)" -n 80 --temp 0 2>"$out/cli.log"
echo
