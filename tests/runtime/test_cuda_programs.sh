#!/usr/bin/env bash
# The programs with --device on the emulated device: test_cuda_programs.sh BUILD PLUGIN
# Exit codes and words are what product.md D7 and README promise.
set -u
build=$1
export BITNET_CUDA_PLUGIN=$2 BITNET_TUNING=none
bitnet=$build/bitnet
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
expect() { # CODE PATTERN COMMAND...: exit code, and an extended regular expression in what is said
    local code=$1 pattern=$2 got
    shift 2
    "$@" >"$work/out" 2>&1 </dev/null
    got=$?
    if [ $got != "$code" ] || ! grep -Eq -- "$pattern" "$work/out"; then
        echo "FAILED ($got, expected $code and /$pattern/): $*"
        cat "$work/out"
        failures=$((failures + 1))
    fi
}
emulated() { # NAME=VALUE COMMAND...
    env "BITNET_EMULATED_$1" "${@:2}"
}
tiny=$work/tiny.gguf plain=$work/plain.gguf
"$build/tests/runtime/make_model" tiny i2_s "$plain" f16 >/dev/null || exit 1
"$bitnet" convert "$root/models/tiny" --qtype i2_s -o "$tiny" >/dev/null 2>&1 || exit 1

# The same greedy text, and where it was made.
for device in cpu cuda cuda:0 auto; do
    "$bitnet" cli -q -m "$tiny" -p "Once upon" -n 3 --temp 0 --device $device >"$work/$device" || failures=$((failures + 1))
    cmp "$work/cpu" "$work/$device" || failures=$((failures + 1))
done
expect 0 'cuda-sm90' "$bitnet" cli -m "$tiny" -p Once -n 1 --temp 0
expect 0 'the model runs on cuda:0' "$bitnet" cli -v -m "$tiny" -p Once -n 1 --temp 0
expect 0 '_threads?|threads' "$bitnet" cli -m "$tiny" -p Once -n 1 --temp 0 -ngl 0
expect 0 '' "$bitnet" cli -q -m "$tiny" -p Once -n 1 --temp 0 -ngl 99 --strict-device

# Words that are wrong.
expect 2 'no such device' "$bitnet" cli -m "$tiny" -p Once --device gpu
expect 3 'metal is not built in' "$bitnet" cli -m "$tiny" -p Once --device metal
expect 2 'one of --device and -ngl' "$bitnet" cli -m "$tiny" -p Once --device cpu -ngl 1
expect 3 'there is no cuda:3' "$bitnet" cli -m "$tiny" -p Once --device cuda:3

# What is lacking: once, by name; an error when asked for.
expect 0 'warning: the model runs on the CPU: cuda:0 has no kernel for attention over a cache of type q8_0' \
    "$bitnet" cli -m "$plain" -p Once -n 1 --cache-type q8_0 --repair-logits
expect 3 'cuda:0 has no kernel for attention over a cache of type q8_0' \
    "$bitnet" cli -m "$plain" -p Once --cache-type q8_0 --device cuda --strict-device

# No device, no plug-in, no memory, no launch.
expect 0 'the model runs on the CPU: no CUDA-capable device' \
    emulated DEVICES=0 "$bitnet" cli -v -m "$tiny" -p Once -n 1
expect 3 'cuda:0 cannot be used: no CUDA-capable device' \
    emulated DEVICES=0 "$bitnet" cli -m "$tiny" -p Once -n 1 --device cuda
expect 0 'no_cuda +there is no device cuda:0: no CUDA-capable device' emulated DEVICES=0 "$bitnet" bench --detect
expect 0 'cuda_devices +id cuda:0, name emulated device, architecture sm_90' "$bitnet" bench --detect
expect 3 'cannot be used: /none.so' env BITNET_CUDA_PLUGIN=/none.so "$bitnet" cli -m "$tiny" -p Once --device cuda
expect 0 'warning: the model runs on the CPU: cuda:0 has' \
    emulated MEMORY=100000 "$bitnet" cli -m "$tiny" -p Once -n 1
expect 8 'cuda:0 has 0 MiB of memory free' \
    emulated MEMORY=100000 "$bitnet" cli -m "$tiny" -p Once -n 1 --device cuda
expect 0 'warning: the model runs on the CPU: .*allocating' \
    emulated MEMORY=3000000 "$bitnet" cli -m "$tiny" -p Once -n 1
expect 70 'cuda:0: pack' emulated THREADS=1 "$bitnet" cli -m "$tiny" -p Once -n 1 --device cuda
# Weights fit, a context does not.
expect 0 'warning: the model is opened again on the CPU: .*a context of 1048576 tokens' \
    emulated MEMORY=60000000 "$bitnet" cli -m "$tiny" -p Once -n 1 -c 1048576
expect 8 'a context of 1048576 tokens' \
    emulated MEMORY=60000000 "$bitnet" cli -m "$tiny" -p Once -n 1 -c 1048576 --device cuda

# The other programs.
printf 'Once upon a time there was a kind girl. %.0s' 1 2 3 4 5 6 7 8 >"$work/text"
expect 0 'cuda-sm90' "$bitnet" perplexity -m "$tiny" -f "$work/text" -c 8 --chunks 1 --device cuda
expect 0 'cuda-sm90' "$bitnet" bench -m "$plain" -p 2 -n 1 -r 1 --device cuda
expect 3 'profile times operations of the CPU' "$bitnet" bench -m "$plain" -p 2 -n 1 -r 1 --profile --device cuda
expect 0 '"embedding"' "$bitnet" embedding -m "$tiny" -p "Once upon" --pooling mean --device cuda
[ $failures = 0 ]
