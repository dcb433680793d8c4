#!/usr/bin/env bash
# Random checkpoints of every family that transformers can run, converted and run by us, held against
# transformers' own logits for the same folder. A wrong direction of weight_scale, a missing row
# permutation, another activation or a lost norm are differences of the size of the logits
# themselves; what remains is rounding.
#
#   scripts/oracle/compare_families.sh BITNET MAKE_CHECKPOINT LOGIT_DIFFERENCE    77: no Python
set -euo pipefail
bitnet=$1 make=$2 difference=$3
cd "$(dirname "$0")/../.."
venv=${BITNET_VENV:-build/venv}
if [ ! -x "$venv/bin/python" ]; then
    echo "SKIPPED: no Python environment in $venv (scripts/oracle/venv.sh makes it)"
    exit 77
fi
if [ ! -x "$difference" ]; then
    echo "SKIPPED: $difference is not built (target logit-difference)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n_failed=0

# ARCH STORAGE TYPE: mean rms difference at most a fifth of the spread of the logits. Random models
# are chaotic under int8 activations, one rounding can flip what follows, so most are far below and
# some are not (measured: 0.0002 to 0.06 of the spread); a wrong reading gives more than 1.
compare() {
    local arch=$1 storage=$2 type=$3 dir=$work/$1-$2 spread result
    if [ ! -d "$dir" ]; then
        mkdir "$dir"
        "$make" "$arch" "$storage" "$dir"
        "$venv/bin/python" scripts/oracle/record_logits.py "$dir" "$dir/reference" >"$dir/spread" 2>"$dir/log" ||
            { tail -3 "$dir/log"; n_failed=$((n_failed + 1)); return; }
    fi
    read -r _ spread <"$dir/spread"
    "$bitnet" convert "$dir" --qtype "$type" -o "$dir/$type.gguf" >/dev/null
    result=$("$difference" "$dir/$type.gguf" "$dir/reference")
    if python3 - "$result" "$spread" <<'PY'
import json, sys
r, spread = json.loads(sys.argv[1]), float(sys.argv[2])
sys.exit(0 if r["mean_rms_difference"] <= spread / 5 else 1)
PY
    then printf 'ok      %-5s %-9s %-5s spread %s %s\n' "$arch" "$storage" "$type" "$spread" "$result"
    else
        printf 'FAILED  %-5s %-9s %-5s spread %s %s\n' "$arch" "$storage" "$type" "$spread" "$result"
        n_failed=$((n_failed + 1))
    fi
}

compare llama plain f32       # LlamaForCausalLM: permutation, grouped heads, SiLU
compare llama plain f16
compare llama divide i2_s     # Llama3-8B-1.58, Falcon3-1.58bit: packed, weight = trit / scale
compare llama multiply tl2    # Falcon-E: packed, weight = trit * scale
compare b158 multiply i2_s    # bitnet-b1.58-2B-4T
compare b158 divide tq2_0
compare b158 masters i2_s     # bitnet-b1.58-2B-4T-bf16
compare llama masters i2_s
echo "$n_failed failed"
[ "$n_failed" -eq 0 ]
