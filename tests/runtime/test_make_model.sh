#!/usr/bin/env bash
# Synthetic models: every type in a valid file, the same bytes every time, for any number of threads
# and on every host. Arguments: the bitnet program, the make_model program.
set -u
bitnet=$1
make_model=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n_failed=0

fail() {
    printf 'FAILED: %s\n' "$*"
    n_failed=$((n_failed + 1))
}

for type in f32 f16 bf16 q8_0 q6_k q4_0 i2_s tl1 tl2 tq1_0 tq2_0 iq2_s iq2_bn; do
    "$make_model" tiny $type "$dir/m.gguf" q6_k 1 || fail "$type cannot be made"
    "$bitnet" gguf validate --deep "$dir/m.gguf" >"$dir/out" 2>&1 || fail "$type: $(cat "$dir/out")"
done
for type in f32 f16 bf16 q8_0 q6_k q4_0 iq2_s; do
    "$make_model" tiny i2_s "$dir/m.gguf" $type || fail "an embedding of $type cannot be made"
    "$bitnet" gguf validate --deep "$dir/m.gguf" >"$dir/out" 2>&1 || fail "$type: $(cat "$dir/out")"
done

# SHA256 TYPE EMBED_TYPE SEED: recorded on x86-64; ARM must write the same
while read -r sum type embed seed; do
    "$make_model" tiny "$type" "$dir/a.gguf" "$embed" "$seed" || fail "$type $embed $seed"
    got=$(sha256sum <"$dir/a.gguf")
    [ "${got%% *}" = "$sum" ] || fail "$type $embed $seed has ${got%% *}, recorded is $sum"
done <<'END'
d5057e61ca3e43faaa8bc201ea2287fba32cab3bc5759b1791ef449dc2a70149 i2_s f16 0
13851e17bf034584d50efe661b1964eac35b65cc102b503c0b306961feaf9da5 tl2 q6_k 7
a722a7f59ed0d287d60a78814fe5732c8b9a0610a5655dae224d65e6c0b6b945 tq2_0 q8_0 7
ea871a1871f3f9e65fac2edaeb21ab836bf3450a72c12efd777210e3bd74d4e0 f16 bf16 18446744073709551615
END

# one thread, two
"$make_model" tiny i2_s "$dir/two.gguf" q4_0 5
taskset -c 0 "$make_model" tiny i2_s "$dir/one.gguf" q4_0 5 2>"$dir/err" || "$make_model" tiny i2_s "$dir/one.gguf" q4_0 5
cmp "$dir/one.gguf" "$dir/two.gguf" || fail "other bytes with one thread"
"$make_model" tiny i2_s "$dir/other.gguf" q4_0 6
cmp -s "$dir/other.gguf" "$dir/two.gguf" && fail "seeds 5 and 6 give one model"

# one seed has the same weights in every type
"$make_model" tiny f16 "$dir/f16.gguf" q4_0 5
"$make_model" tiny iq2_bn "$dir/iq2_bn.gguf" q4_0 5
for other in f16 iq2_bn; do
    "$bitnet" gguf diff --logical "$dir/two.gguf" "$dir/$other.gguf" >"$dir/out" 2>&1 ||
        fail "$other has other weights: $(head -3 "$dir/out")"
done

# an output matrix and an architecture of the caller's choice
"$make_model" tiny tq2_0 "$dir/m.gguf" q8_0 1 q6_k llama || fail "another architecture"
"$bitnet" gguf show "$dir/m.gguf" >"$dir/out" 2>&1
grep -q "llama" "$dir/out" || fail "the architecture is not the one asked for: $(head -5 "$dir/out")"
for wrong in "tiny nonsense" "tiny iq1_bn" "nothing i2_s" "tiny"; do
    # shellcheck disable=SC2086
    "$make_model" $wrong "$dir/x.gguf" >"$dir/out" 2>&1 && fail "make_model $wrong"
    grep -q "^usage" "$dir/out" || fail "make_model $wrong says $(cat "$dir/out")"
done
[ -e "$dir/x.gguf" ] && fail "a wrong call left a file"

[ "$n_failed" -eq 0 ] && echo "all as it should be"
exit $((n_failed > 0))
