#!/usr/bin/env bash
# All that is to be shown on a real CUDA device, in one command: correctness first, then the table of
# goals with the bandwidth measured there and then beside it, then torch on the same shapes.
#
# usage: scripts/bench/gpu.sh [--quick] [--json FILE]
#   $BITNET_BUILD        the build folder (default: build), built with nvcc (-DBITNET_CUDA=ON)
#   $BITNET_CUDA_PLUGIN  another plug-in (default: bitnet-cuda.so of the build)
#   $BITNET_PYTHON       a Python with torch for CUDA; without one the peers are left out by name
#   --quick              a tiny model, no goals: whether everything runs, on the emulated device too
#   --json FILE          keep the measurements of bench
# Exit codes: 0 all goals met, 1 a test failed or a goal was missed, 77 skipped: no device.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BITNET_BUILD:-build} quick="" json=""
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=quick ;;
    --json) json=$2 && shift ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done
export BITNET_CUDA_PLUGIN=${BITNET_CUDA_PLUGIN:-$build/bitnet-cuda.so}
bitnet=$build/bitnet tests=$build/tests
for program in "$bitnet" "$tests/runtime/make_model" "$tests/runtime/cuda_products"; do
    [ -x "$program" ] || { echo "gpu.sh: no $program; build it, or say where in BITNET_BUILD" >&2; exit 4; }
done
if why=$("$bitnet" bench --detect | sed -n 's/^no_cuda *//p') && [ -n "$why" ]; then
    echo "SKIPPED: gpu.sh ($why)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== device"
"$bitnet" bench --detect | grep '^cuda_devices'

echo "== correctness"
failed=0
check() { # NAME COMMAND...: one program, its output only when it fails; what skips here has not been shown
    local name=$1 code=0
    shift
    "$@" >"$work/log" 2>&1 || code=$?
    case $code in
    0) echo "passed: $name" ;;
    77) echo "SKIPPED: $name ($(grep -m1 SKIPPED "$work/log" || true))" && [ -n "$quick" ] || failed=1 ;;
    *) echo "FAILED: $name" && tail -40 "$work/log" && failed=1 ;;
    esac
}
for program in "$tests"/kernels/cuda/test_cuda_*_gpu; do # of the kernels; there with nvcc only
    [ ! -x "$program" ] || check "${program##*/}" "$program"
done
check "whole models" "$tests/runtime/test_cuda_models"
[ -n "$quick" ] || check "every family, type and head" "$tests/runtime/test_cuda_numbers"
if [ -z "$quick" ] && command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        for program in "$tests"/kernels/cuda/test_cuda_{activation,dense,attention,step}_gpu \
            "$tests/runtime/test_cuda_models"; do
            check "compute-sanitizer $tool: ${program##*/}" \
                compute-sanitizer --tool "$tool" --error-exitcode 9 "$program"
        done
    done
else
    echo "SKIPPED: compute-sanitizer ($([ -n "$quick" ] && echo quick || echo not installed))"
fi
[ $failed = 0 ] || exit 1

echo "== products"
"$tests/runtime/cuda_products" "$BITNET_CUDA_PLUGIN" $quick | tee "$work/products.md"

echo "== models"
shape=${quick:+tiny} shape=${shape:-2b4t}
prompt=${quick:+32} prompt=${prompt:-2048}
decode=${quick:+4} decode=${decode:-256}
together=${quick:+4} together=${together:-64}
model=$work/$shape.gguf
"$tests/runtime/make_model" "$shape" i2_s "$model" f16 >/dev/null
rate() { # ARGUMENT...: tokens per second, the median
    "$bitnet" bench -q -m "$model" --device cuda --strict-device -o jsonl "$@" >"$work/row"
    [ -z "$json" ] || cat "$work/row" >>"$json"
    sed -n 's/.*"median": *\([0-9.e+]*\).*/\1/p' "$work/row" | head -1
}
bytes_of() { sed -n "s/.*\"$1\": *\\([0-9.e+]*\\).*/\\1/p" "$work/row" | head -1; }
one=$(rate -p 0 -n "$decode" ${quick:+-r 1})
bytes=$(bytes_of packed_bytes)
prefill=$(rate -p "$prompt" -n 0 -b "$prompt" ${quick:+-r 1})
many=$(rate -p 0 -n "$decode" -np "$together" ${quick:+-r 1})
moves=$(sed -n 's/.*moves \([0-9.]*\) GB.*/\1/p' "$work/products.md")

echo "== goals (docs/cuda.md; one H100, shape $shape, f16 head)"
awk -v one="$one" -v bytes="$bytes" -v prefill="$prefill" -v many="$many" -v moves="$moves" \
    -v quick="$quick" -F'|' '
    function row(what, got, goal, unit) {
        met = got >= goal ? "met" : "MISSED"
        if (met != "met") missed = 1
        printf "| %s | %.1f %s | %.0f %s | %s |\n", what, got, unit, goal, unit, met
    }
    $2 ~ /ternary/ && $4 + 0 == 1 {
        split($3, n, "x"); share = $7 + 0
        if (n[1] * n[2] >= 2560 * 6912 && (!least || share < least)) least = share
    }
    END {
        print "| | measured | goal | |"
        print "|---|---:|---:|---|"
        bound = moves * 1e9 / bytes
        if (bound == 0) bound = 1 # an emulated device, rounded
        row("ternary GEMV, the slowest of 2560 x 6912 and larger, of " moves " GB/s", least, 70, "%")
        row("decode of one sequence, of " sprintf("%.0f", bound) " tokens/s that the bytes allow", 100 * one / bound, 60, "%")
        row("prefill", prefill, 150000, "tokens/s")
        row("many sequences decoded together, times one", many / one, 15, "x")
        exit missed && quick == ""
    }' "$work/products.md" || failed=1

echo "== peers"
if python=${BITNET_PYTHON:-$(command -v python3)} && "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    "$python" scripts/bench/gpu_peers.py
else
    echo "SKIPPED: torch (none that sees the device; say where in BITNET_PYTHON)"
fi
exit $failed
