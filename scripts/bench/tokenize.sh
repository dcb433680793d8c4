#!/usr/bin/env bash
# Tokenizing speed, one thread: ours, Hugging Face tokenizers and tiktoken in turn, several rounds,
# the best of each. Texts and vocabularies are those of the shared data folder beside the repository.
#
#   scripts/bench/tokenize.sh PYTHON       PYTHON: of the environment that scripts/oracle/venv.sh makes
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:?a Python with the packages tokenizers and tiktoken}
data=$PWD/../shared/data/tokenizers
texts=$PWD/../shared/data/text
build=${BITNET_BUILD:-$PWD/build}/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -d "$data" ] || { echo "skipped: $data is not there"; exit 77; }

mkdir -p "$build"
cmake -S . -B "$build" -G Ninja -DBITNET_TESTS=OFF >"$work/log" && cmake --build "$build" --target bitnet_everything >>"$work/log" ||
    { cat "$work/log"; exit 1; }
cc -std=c11 -D_GNU_SOURCE -O2 -Ibase/include -Igguf/include -Itokenizers/include scripts/bench/tokenize.c \
    "$(find "$build" -name libbitnet.a | head -1)" -o "$work/tokenize" \
    $(for library in libcjson libcrypto libcurl libzstd sentencepiece; do pkg-config --libs "$library" 2>/dev/null; done) \
    -lstdc++ -lpthread -lm -ldl

"$python" scripts/bench/tokenize_others.py fill "$data" "$work/llama3.json"
files=("$texts/tinyshakespeare.txt" "$texts/multilingual.txt" "$texts/source-code.txt" "$texts/wagahai-ja.txt")
for vocabulary in "llama3 $work/llama3.json" "llama2 $data/hf/llama2/tokenizer.json"; do
    read -r name json <<<"$vocabulary"
    for round in 1 2 3; do
        "$work/tokenize" "$json" "${files[@]}"
        "$python" scripts/bench/tokenize_others.py hf "$json" "${files[@]}"
        [ "$name" = llama2 ] || "$python" scripts/bench/tokenize_others.py tiktoken "$data" "${files[@]}"
    done | awk -F'\t' -v vocabulary="$name" '
        { sub(/.*\//, "", $2); key = $2; if ($4 > best[$1, key]) best[$1, key] = $4; seen[key] = 1 }
        END {
            printf "%-8s %-22s %10s %10s %10s %8s\n", vocabulary, "MB/s, one thread", "ours", "hf", "tiktoken", "ours/hf"
            for (key in seen)
                printf "%-8s %-22s %10.1f %10.1f %10s %8.1f\n", "", key, best["bitnet", key], best["hf", key],
                       (("tiktoken", key) in best) ? sprintf("%.1f", best["tiktoken", key]) : "-",
                       best["bitnet", key] / best["hf", key]
        }'
done
