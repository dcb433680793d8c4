#!/usr/bin/env bash
# The runtime's programs as a user meets them: exit codes, one clear line per failure, equal text in
# every way of running, a clean stop. Arguments: the bitnet program, the make_model program.
set -u
bitnet=$1
make_model=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n_failed=0
export BITNET_TUNING=none # but for the part that is about it

fail() {
    printf 'FAILED: %s\n' "$*"
    n_failed=$((n_failed + 1))
}

# expect CODE WORDS command...: the exit code, and words on standard error in one line.
expect() {
    local code=$1 words=$2 got
    shift 2
    "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    [ "$got" -eq "$code" ] || fail "exit code $got instead of $code: $*: $(head -c 300 "$dir/err")"
    [ -z "$words" ] || grep -qF -- "$words" "$dir/err" || fail "no '$words' in: $(head -c 300 "$dir/err")"
    if [ "$code" -ne 0 ]; then
        [ "$(grep -c 'error:' "$dir/err")" -eq 1 ] || fail "not one error line: $*: $(cat "$dir/err")"
    fi
}

"$make_model" tiny i2_s "$dir/model.gguf" || exit 1
"$make_model" tiny tl2 "$dir/tl2.gguf" || exit 1
head -c 20000 "$dir/model.gguf" >"$dir/short.gguf"
for _ in $(seq 40); do echo "the quick brown fox jumps over the lazy dog"; done >"$dir/text"

# wrong calls and wrong files
expect 2 "-m FILE" "$bitnet" cli -p hello
expect 2 "-p TEXT" "$bitnet" cli -m "$dir/model.gguf"
expect 2 "" "$bitnet" cli -m "$dir/model.gguf" -p a --no-such-option
expect 2 "temperature" "$bitnet" cli -m "$dir/model.gguf" -p a --temp -1
expect 2 "'pentium'" "$bitnet" cli -m "$dir/model.gguf" -p a --cpu pentium
expect 2 "'pentium'" env BITNET_CPU=pentium "$bitnet" bench --detect
expect 2 "no test" "$bitnet" bench -m "$dir/model.gguf" -p 0 -n 0
expect 4 "$dir/none.gguf" "$bitnet" cli -m "$dir/none.gguf" -p a
expect 4 "$dir/none.txt" "$bitnet" perplexity -m "$dir/model.gguf" -f "$dir/none.txt"
expect 3 "short.gguf" "$bitnet" cli -m "$dir/short.gguf" -p a
expect 3 "two contexts" "$bitnet" perplexity -m "$dir/model.gguf" -f "$dir/text" -c 4096
expect 3 "context" "$bitnet" cli -m "$dir/model.gguf" -f "$dir/text" -c 20
for tool in cli perplexity embedding bench; do
    expect 0 "" "$bitnet" $tool --help
    grep -q "bitnet-$tool" "$dir/out" || fail "$tool --help does not name itself"
done
if [ -w /dev/full ]; then
    "$bitnet" cli -m "$dir/model.gguf" -p a -n 2 -q >/dev/full 2>"$dir/err"
    [ $? -eq 7 ] || fail "a full disk behind standard output was not noticed"
fi

expect 2 "logit-bias" "$bitnet" cli -m "$dir/model.gguf" -p a --logit-bias 5
expect 2 "logit-bias" "$bitnet" cli -m "$dir/model.gguf" -p a --logit-bias x+1
expect 2 "token 1000 of a vocabulary of 1000" "$bitnet" cli -m "$dir/model.gguf" -p a --logit-bias 1000+1
[ "$("$bitnet" cli -q -m "$dir/model.gguf" -p a -n 3 --temp 0 --logit-bias 700+1000)" = "a[700][700][700]" ] || fail "--logit-bias"

# the same text in every way
text() { "$bitnet" cli -q -m "$1" -p "Once upon a time" -n 24 --ignore-eos "${@:2}" 2>&1; }
want=$(text "$dir/model.gguf" --temp 0 -t 1 --cpu scalar)
case $want in "Once upon a time"?*) ;; *) fail "the text does not begin with the prompt: $want" ;; esac
for way in "-t 1" "-t 2" "-t 7" "-b 1" "-b 3" "-c 100"; do
    # shellcheck disable=SC2086
    [ "$(text "$dir/model.gguf" --temp 0 $way)" = "$want" ] || fail "other text with $way"
done
[ "$(text "$dir/tl2.gguf" --temp 0)" = "$want" ] || fail "other text from TL2"
[ "$(BITNET_CPU=scalar text "$dir/tl2.gguf" --temp 0)" = "$want" ] || fail "other text with BITNET_CPU"
[ "$(text "$dir/model.gguf" -s 5)" = "$(text "$dir/model.gguf" -s 5 -t 2)" ] || fail "seed 5 gave two texts"
[ "$(text "$dir/model.gguf" -s 5)" != "$(text "$dir/model.gguf" -s 6)" ] || fail "seeds 5 and 6 gave one text"

# a stop text is not shown, nor what follows
stop=${want#Once upon a time}
stop=${stop:3:6}
cut=${want#Once upon a time}
[ "$(text "$dir/model.gguf" --temp 0 --stop "$stop" --stop nowhere)" = "Once upon a time${cut%%"$stop"*}" ] ||
    fail "--stop '$stop' in '$want'"
expect 2 "empty stop text" "$bitnet" cli -m "$dir/model.gguf" -p a --stop ""

# the same as one JSON object, and what the environment says where the command line is silent
"$bitnet" cli -q -m "$dir/model.gguf" -p "Once upon a time" -n 24 --ignore-eos -s 5 --json >"$dir/json" || fail "cli --json"
json_text=$(sed -n 's/.*"text": "\(.*\)",$/\1/p' "$dir/json" | cat -v)
plain=$(text "$dir/model.gguf" -s 5 | cat -v)
plain=${plain//\\/\\\\}
[ "Once upon a time$json_text" = "${plain//\"/\\\"}" ] || fail "--json has '$json_text', not '$plain'"
grep -q '"finish_reason": "length", "prompt_tokens": 26, "completion_tokens": 24, "seed": 5,' "$dir/json" || fail "$(cat "$dir/json")"
parts=$(sed -n 's/.*"tokenize_ms": \([0-9.]*\), "prefill_ms": \([0-9.]*\), "decode_ms": \([0-9.]*\), "total_ms": \([0-9.]*\).*/\1+\2+\3-\4/p' "$dir/json")
awk "BEGIN { d = $parts; exit !(d < 0.01 && d > -0.01) }" || fail "parts do not make the whole: $(cat "$dir/json")"
[ "$(BITNET_SEED=5 text "$dir/model.gguf")" = "$(text "$dir/model.gguf" -s 5)" ] || fail "BITNET_SEED"
BITNET_NUM_THREADS=3 BITNET_BATCH_SIZE=7 "$bitnet" cli -m "$dir/model.gguf" -p a -n 1 2>&1 | grep -q '3 threads' || fail "BITNET_NUM_THREADS"
BITNET_NUM_THREADS=3 "$bitnet" cli -m "$dir/model.gguf" -p a -n 1 -t 2 2>&1 | grep -q '2 threads' || fail "-t goes before BITNET_NUM_THREADS"
BITNET_BATCH_SIZE=7 "$bitnet" bench -q -m "$dir/model.gguf" -p 8 -n 0 -r 1 -o csv | grep -q ',pp8,8,0,0,7,1,' || fail "BITNET_BATCH_SIZE"
for name in BITNET_NUM_THREADS BITNET_BATCH_SIZE BITNET_SEED; do
    expect 2 "$name is 'many'" env $name=many "$bitnet" cli -m "$dir/model.gguf" -p a -n 1
done

# a limit of memory is kept, or the tool refuses before it takes anything
expect 8 "the weights would take 3 MiB, the memory limit of 1 MiB leaves 1" env BITNET_MEMORY_LIMIT=1M "$bitnet" cli --device cpu -m "$dir/model.gguf" -p a -n 1
expect 8 "a context of 200000 tokens would take" "$bitnet" cli --device cpu -m "$dir/model.gguf" -p a -n 1 -c 200000 --max-memory 16M
expect 8 "the memory limit of 1 MiB" "$bitnet" bench --device cpu -m "$dir/model.gguf" -p 8 -n 0 -r 1 --max-memory 1M
expect 0 "" env BITNET_MEMORY_LIMIT=1M "$bitnet" cli --device cpu -m "$dir/model.gguf" -p a -n 1 --max-memory 64M
expect 2 "BITNET_MEMORY_LIMIT is 'much'" env BITNET_MEMORY_LIMIT=much "$bitnet" cli --device cpu -m "$dir/model.gguf" -p a -n 1

# many prompts together: the texts that each gets alone, in the order of the file
for i in $(seq 9); do
    printf '{"prompt": "number %s of them", "seed": %s, "n_predict": %s, "id": "p%s"}\n' "$i" "$i" $((3 + i * 5 % 17)) "$i"
done >"$dir/prompts.jsonl"
for i in $(seq 9); do
    new=$("$bitnet" cli -q -m "$dir/model.gguf" -p "number $i of them" -s "$i" -n $((3 + i * 5 % 17)) --no-display-prompt | cat -v)
    new=${new//\\/\\\\}
    printf '{"index": %s, "id": "p%s", "text": "%s", \n' $((i - 1)) "$i" "${new//\"/\\\"}"
done >"$dir/want.jsonl"
for together in 1 2 5 64; do
    expect 0 "9 texts" "$bitnet" cli -m "$dir/model.gguf" --input "$dir/prompts.jsonl" -np $together
    sed 's/"finish_reason".*//' "$dir/out" | cat -v | cmp -s - "$dir/want.jsonl" ||
        fail "$together together: $(cat "$dir/out") instead of $(cat "$dir/want.jsonl")"
done
"$bitnet" cli -q -m "$dir/model.gguf" --input - -np 3 <"$dir/prompts.jsonl" | cmp -s - "$dir/out" || fail "--input -"

# a line that is wrong or fails has an error in its place; the exit code is the first one's
printf '%s\n' '"a"' '' '{"promt": "a"}' 'a' '{"prompt": "a", "temperature": -1}' '{"prompt": "a", "stop": ["b", 1]}' \
    '{"prompt": "a b c d e f g h i j k l m n o p"}' '{"prompt": "b", "stop": "c", "max_tokens": 1}' >"$dir/wrong.jsonl"
expect 3 "5 of 7 lines failed; the first is line 3: there is no 'promt'" \
    "$bitnet" cli -m "$dir/model.gguf" --input "$dir/wrong.jsonl" -n 2 -c 16
[ "$(grep -c '"text"' "$dir/out")" -eq 2 ] || fail "not two texts: $(cat "$dir/out")"
[ "$(sed 's/.*"index": \([0-9]*\).*/\1/' "$dir/out" | tr -d '\n')" = 0123456 ] || fail "lines out of order: $(cat "$dir/out")"
for words in '"line": 4, "error": {"status": "FORMAT"' '"temperature is -1' "'stop' is a text" '"status": "LIMIT", "message": "the prompt has'; do
    grep -qF -- "$words" "$dir/out" || fail "no $words in: $(cat "$dir/out")"
done
expect 4 "none.jsonl" "$bitnet" cli -m "$dir/model.gguf" --input "$dir/none.jsonl"
echo >"$dir/empty.jsonl"
expect 2 "no line" "$bitnet" cli -m "$dir/model.gguf" --input "$dir/empty.jsonl"
expect 2 "say one of" "$bitnet" cli -m "$dir/model.gguf" --input "$dir/prompts.jsonl" -p a
expect 2 "--parallel" "$bitnet" cli -m "$dir/model.gguf" -p a -np 3

# the pass and fail line
"$bitnet" perplexity -q -m "$dir/model.gguf" -f "$dir/text" -c 64 --json >"$dir/json" || fail "perplexity --json"
ppl=$(sed -n 's/.*"perplexity":[[:space:]]*\([0-9.e+]*\).*/\1/p' "$dir/json")
[ -n "$ppl" ] || fail "no perplexity in $(cat "$dir/json")"
expect 0 "" "$bitnet" perplexity -m "$dir/tl2.gguf" -f "$dir/text" -c 64 --expect "$ppl" --tol 0.001
expect 1 "expected 1.0000 within 0.5" "$bitnet" perplexity -m "$dir/model.gguf" -f "$dir/text" -c 64 --expect 1 --tol 0.5

# two models side by side
expect 0 "" "$bitnet" perplexity -m "$dir/tl2.gguf" --base "$dir/model.gguf" -f "$dir/text" -c 64 --max-divergence 0
grep -q "^divergence 0.000000 +- 0.000000" "$dir/out" || fail "TL2 diverges from I2_S: $(cat "$dir/out")"
"$make_model" tiny i2_s "$dir/other.gguf" f16 7
expect 1 "the divergence is" "$bitnet" perplexity -m "$dir/tl2.gguf" --base "$dir/other.gguf" -f "$dir/text" -c 64 --max-divergence 0

expect 2 "--base" "$bitnet" perplexity -m "$dir/tl2.gguf" -f "$dir/text" --kl-divergence
expect 2 "-f FILE" "$bitnet" perplexity -m "$dir/tl2.gguf" --base "$dir/model.gguf"

# a base whose predictions were stored, under our words and under llama.cpp's
expect 0 "" "$bitnet" perplexity -m "$dir/other.gguf" -f "$dir/text" -c 64 --save-logits "$dir/other.kld"
expect 12 "other.kld" "$bitnet" perplexity -m "$dir/other.gguf" -f "$dir/text" -c 64 --save-logits "$dir/other.kld"
expect 0 "" "$bitnet" perplexity -m "$dir/other.gguf" -f "$dir/text" -c 64 --kl-divergence-base "$dir/same.kld"
cmp "$dir/other.kld" "$dir/same.kld" || fail "--save-logits and --kl-divergence-base write different files"
"$bitnet" perplexity -q -m "$dir/tl2.gguf" --base "$dir/other.kld" >"$dir/a" || fail "perplexity --base FILE.kld"
"$bitnet" perplexity -q -m "$dir/tl2.gguf" --kl-divergence-base "$dir/other.kld" --kl-divergence >"$dir/b" ||
    fail "perplexity --kl-divergence"
cmp "$dir/a" "$dir/b" || fail "two spellings of one comparison differ"
grep -q "of 64 tokens" "$dir/a" || fail "the context is not that of the stored file: $(cat "$dir/a")"
expect 1 "the divergence is" "$bitnet" perplexity -m "$dir/tl2.gguf" --base "$dir/other.kld" --max-divergence 0.001
head -c 1000 "$dir/other.kld" >"$dir/short.kld"
expect 3 "short.kld" "$bitnet" perplexity -m "$dir/tl2.gguf" --base "$dir/short.kld"

# bench
"$bitnet" bench -q -m "$dir/model.gguf" -p 16 -n 4 -pg 8,2 -r 2 -o json >"$dir/json" || fail "bench -o json"
for key in tokens_per_second kernels load_ms peak_rss_bytes '"pp16"' '"tg4"' '"pp8+tg2"'; do
    grep -qF -- "$key" "$dir/json" || fail "no $key in bench -o json"
done
[ "$("$bitnet" bench -q -m "$dir/model.gguf" -p 16 -n 4 -r 2 | grep -c 'bitnet-b1.58')" -eq 2 ] || fail "bench -o md"
cp "$dir/json" "$dir/old.json"
again=(bench -m "$dir/model.gguf" -p 16 -n 4 -r 2 --compare "$dir/old.json")
expect 0 "pp16" "$bitnet" "${again[@]}" --max-regress 99%
sed -i 's/\("median":[[:space:]]*\)\([0-9]\)/\1999\2/; s/\("tokens_per_second":[[:space:]]*\)\([0-9]\)/\1999\2/' "$dir/old.json"
expect 1 "slower by more than 5%" "$bitnet" "${again[@]}"
echo '{"tests": []}' >"$dir/old.json"
expect 3 "no test in common" "$bitnet" "${again[@]}"
expect 2 "'1,x'" "$bitnet" bench -m "$dir/model.gguf" -t 1,x
"$bitnet" bench -q -m "$dir/model.gguf" -p 8 -n 2 -d 3 -np 1,4 -r 1 -o json >"$dir/json" || fail "bench -np"
for key in '"tg2 @ d3"' '"pp8 @ d3 x 4"' '"tg2 @ d3 x 4"' '"generated_tokens":.8,' '"prompt_tokens":.32,'; do
    grep -q -- "$key" "$dir/json" || fail "no $key in bench -np 1,4"
done
"$bitnet" bench -q -m "$dir/model.gguf" -p 8 -n 2 -r 1 -t 1,2 --cpu scalar,avx2 --with-ppl "$dir/text" \
    --ppl-context 64 -o csv >"$dir/csv" || fail "bench -o csv"
[ "$(wc -l <"$dir/csv")" -eq 9 ] || fail "eight tests and a header, not: $(cat "$dir/csv")"
[ "$(sed 1d "$dir/csv" | sed 's/.*,//' | sort -u | wc -l)" -eq 1 ] || fail "perplexity differs: $(cat "$dir/csv")"
[ "$("$bitnet" bench -q -m "$dir/model.gguf" -m "$dir/tl2.gguf" -p 8 -n 0 -c 0,32 -r 1 | grep -c '^| file .* context |')" -eq 1 ] || fail "bench of two files and two contexts does not tell them apart"
expect 0 "" "$bitnet" bench --detect -m "$dir/model.gguf"
[ "$(tail -5 "$dir/out" | grep -c ' ok ')" -eq 5 ] || fail "--detect -m: $(tail -6 "$dir/out")"
expect 3 "1 of 1 models" "$bitnet" bench --detect -m "$dir/short.gguf"
grep -q '^format  *FAILED' "$dir/out" || fail "--detect of a cut file: $(tail -6 "$dir/out")"
"$bitnet" bench --detect --cpu scalar | grep -q '^kernels *scalar$' || fail "bench --detect --cpu scalar"

# a tuning profile: written, honoured, told, left aside
export BITNET_TUNING=$dir/tuning.json
expect 4 "tuning.json" "$bitnet" cli -m "$dir/model.gguf" -p a -n 1
expect 0 "written to" "$bitnet" bench --tune -m "$dir/model.gguf" -p 64 -n 4 -r 1 -v
grep -q "batches of 64" "$dir/err" || fail "--tune -v does not say what it measures: $(cat "$dir/err")"
expect 0 "tuning profile $dir/tuning.json" "$bitnet" cli -m "$dir/model.gguf" -p a -n 1 -v
"$bitnet" cli -m "$dir/model.gguf" -p a -n 1 -v --tuning none 2>&1 | grep -q "tuning profile" && fail "--tuning none"
"$bitnet" bench --detect | grep -q "^tuning.*bitnet-b1.58 2x512.*threads" || fail "--detect does not tell the profile"
sed 's/"kernels":\t"[a-z0-9]*"/"kernels":\t"scalar"/; s/"threads":\t[0-9]*/"threads":\t3/' "$BITNET_TUNING" >"$dir/slow.json"
"$bitnet" bench -q -m "$dir/model.gguf" -p 8 -n 0 -r 1 --tuning "$dir/slow.json" | grep -q "| scalar | 3 |" ||
    fail "the profile's kernels and threads are not used"
"$bitnet" bench -q -m "$dir/model.gguf" -p 8 -n 0 -r 1 -t 2 --cpu ssse3 --tuning "$dir/slow.json" 2>"$dir/err" |
    grep -q "| scalar | 3 |" && fail "the profile overrules the command line"
sed 's/"cpu":\t"[^"]*"/"cpu":\t"another"/' "$BITNET_TUNING" >"$dir/other.json"
expect 1 "another CPU" "$bitnet" cli -m "$dir/model.gguf" -p a -n 1 --tuning "$dir/other.json"
unset BITNET_TUNING # the user's own
mkdir -p "$dir/cache/bitnet" && cp "$dir/other.json" "$dir/cache/bitnet/tuning.json"
expect 0 "warning: the tuning profile is not used" env XDG_CACHE_HOME="$dir/cache" "$bitnet" cli -m "$dir/model.gguf" -p a -n 1
export BITNET_TUNING=none

# a clean stop
for tool in "cli -p a -n 0 -c 200000 --ignore-eos" "bench -p 0 -n 100000 -r 1000"; do
    # shellcheck disable=SC2086
    "$bitnet" $tool -m "$dir/model.gguf" >"$dir/out" 2>"$dir/err" &
    pid=$!
    for _ in $(seq 200); do # until it catches SIGINT: the second bit of SigCgt
        grep -q '^SigCgt:.*[2367abef]$' /proc/$pid/status && break
        sleep 0.1
    done
    sleep 0.5
    kill -INT $pid
    wait $pid
    code=$?
    [ $code -eq 130 ] || fail "$tool ended with $code after Ctrl-C"
    [ "$(grep -c 'stopped on request' "$dir/err")" -eq 1 ] || fail "$tool says $(cat "$dir/err")"
done

# vectors of texts
expect 2 "how its vectors are pooled" "$bitnet" embedding -m "$dir/model.gguf" -p a
expect 2 "one of -p TEXT and -f FILE" "$bitnet" embedding -m "$dir/model.gguf"
expect 2 "one of -p TEXT and -f FILE" "$bitnet" embedding -m "$dir/model.gguf" -p a -f "$dir/text"
expect 2 "'max'" "$bitnet" embedding -m "$dir/model.gguf" -p a --pooling max
expect 2 "'xml'" "$bitnet" embedding -m "$dir/model.gguf" -p a --pooling last -o xml
expect 2 "--normalize 1" "$bitnet" embedding -m "$dir/model.gguf" -p a --pooling last --normalize 1
expect 4 "$dir/none" "$bitnet" embedding -m "$dir/model.gguf" -f "$dir/none" --pooling last
printf 'the fox\r\njumps\nover' >"$dir/lines"
vectors() { "$bitnet" embedding -q -m "$dir/model.gguf" -f "$dir/lines" --pooling last "$@"; }
[ "$(vectors -o raw | wc -l)" -eq 3 ] || fail "three lines are not three vectors"
[ "$(vectors -o raw)" = "$("$bitnet" embedding -q -m "$dir/model.gguf" -f - --pooling last -o raw <"$dir/lines")" ] ||
    fail "standard input gives other vectors than a file"
[ "$(vectors -o raw | head -n 2 | tail -n 1)" = "$("$bitnet" embedding -q -m "$dir/model.gguf" -p jumps --pooling last -o raw)" ] ||
    fail "a text alone has another vector than beside others"
{ vectors -o array | tr -d '[]\n' | tr ',' '\n'; echo; } >"$dir/array"
vectors -o raw | tr ' ' '\n' >"$dir/raw"
cmp -s "$dir/array" "$dir/raw" || fail "array and raw are other numbers"
width=$(($(wc -l <"$dir/raw") / 3))
vectors -o npy >"$dir/npy"
[ "$(wc -c <"$dir/npy")" -eq $((128 + 12 * width)) ] || fail "npy has another size than its shape"
grep -aqF "'shape': (3, $width)" "$dir/npy" || fail "npy does not say its shape"
vectors --similarity >"$dir/json"
grep -qF '"object": "list"' "$dir/json" && grep -qF '"index": 2' "$dir/json" && grep -qF '"cosineSimilarity": [[1,' "$dir/json" ||
    fail "json: $(tail -c 300 "$dir/json")"
awk '{ s += $1 * $1 } END { exit !(s > 2.9999 && s < 3.0001) }' "$dir/raw" || fail "three vectors are not three long"
best=$(vectors --similar "$(sed -n 2p "$dir/lines")" --top-k 2 -o raw)
[ "$(head -n 1 <<<"$best")" = "1.000000000	1	$(sed -n 2p "$dir/lines")" ] || fail "--similar does not find the text itself: $best"
[ "$(wc -l <<<"$best")" -eq 2 ] || fail "--top-k 2 gives $best"
vectors --similar fox | grep -qF '"text": "' || fail "--similar as JSON"
expect 2 "json or raw, not npy" "$bitnet" embedding -m "$dir/model.gguf" -p fox --pooling last --similar a -o npy
"$bitnet" embedding -q -m "$dir/model.gguf" -p fox --pooling none -o array | grep -qF '[[' || fail "without pooling there is no list"

[ "$n_failed" -eq 0 ] && echo "all as it should be"
exit $((n_failed > 0))
