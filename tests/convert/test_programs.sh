#!/usr/bin/env bash
# bitnet convert and bitnet quantize as a user meets them: exit codes, one clear line per failure, a
# clean stop, nothing left behind. Arguments: the bitnet program, the make_checkpoint program.
set -u
bitnet=$1
make=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n_failed=0

fail() {
    printf 'FAILED: %s\n' "$*"
    n_failed=$((n_failed + 1))
}

# expect CODE WORDS command...: the exit code, words on standard error in one error line, and after a
# failure an output folder that is still empty.
expect() {
    local code=$1 words=$2 got
    shift 2
    "$@" >"$dir/stdout" 2>"$dir/stderr" </dev/null
    got=$?
    [ "$got" -eq "$code" ] || fail "exit code $got instead of $code: $*: $(head -c 300 "$dir/stderr")"
    [ -z "$words" ] || grep -qF -- "$words" "$dir/stderr" || fail "no '$words' in: $(head -c 300 "$dir/stderr")"
    [ "$code" -le 1 ] && return
    [ "$(grep -c 'error:' "$dir/stderr")" -eq 1 ] || fail "not one error line: $*: $(cat "$dir/stderr")"
    [ -z "$(ls -A "$dir/out")" ] || fail "left behind after $*: $(ls -A "$dir/out")"
}

source_of() { # NAME ARCH STORAGE [SHARDS [WIDTH]]
    mkdir -p "$dir/$1"
    "$make" "$2" "$3" "$dir/$1" "${@:4}" || exit 1
}

mkdir "$dir/out"
out=$dir/out/model.gguf
source_of b158 b158 multiply
source_of plain llama plain
source_of shards llama divide 3

# wrong calls
expect 2 "--qtype" "$bitnet" convert "$dir/b158" -o "$out"
expect 2 "'i3_s'" "$bitnet" convert "$dir/b158" --qtype i3_s -o "$out"
expect 2 "--tile" "$bitnet" convert "$dir/b158" --qtype tl2 --tile 1,2 -o "$out"
expect 2 "--verify" "$bitnet" convert "$dir/b158" --qtype tl2 --verify twice -o "$out"
expect 2 "--dialect" "$bitnet" convert "$dir/b158" --qtype tl2 --dialect klingon -o "$out"
expect 2 "--tensor-type" "$bitnet" convert "$dir/b158" --qtype tl2 --tensor-type f16 -o "$out"
expect 2 "" "$bitnet" convert "$dir/b158" --no-such-option
expect 2 "'a\xff': this is no UTF-8" "$bitnet" convert "$dir/b158" --qtype i2_s --name $'a\xff' -o "$out"
expect 2 "standard output cannot be read back" "$bitnet" convert "$dir/b158" --qtype i2_s -o -
expect 2 "this is no file name" "$bitnet" convert "$dir/b158" --qtype i2_s -o ""
expect 2 "key 'general.architecture' cannot be given" "$bitnet" convert "$dir/b158" --qtype i2_s -o "$out" \
    --override-kv general.architecture=string:llama
expect 2 "the certificate and the model cannot both be" "$bitnet" convert "$dir/b158" --qtype i2_s -o "$out" \
    --cert "$dir/out/../out/model.gguf"
expect 4 "nowhere" "$bitnet" convert "$dir/b158" --qtype i2_s -o "$out" --cert "$dir/nowhere/model.json"
expect 2 "" "$bitnet" convert
expect 2 "" "$bitnet" quantize "$out" "$out"
expect 2 "threads" "$bitnet" quantize "$out" "$out" i2_s many

# wrong inputs
expect 4 "$dir/none" "$bitnet" convert "$dir/none" --qtype i2_s -o "$out"
expect 4 "none.gguf" "$bitnet" quantize "$dir/none.gguf" "$out" i2_s
expect 3 "not ternary" "$bitnet" convert "$dir/plain" --qtype i2_s -o "$out"
head -c 20000 "$dir/b158/model.safetensors" >"$dir/cut"
cp -r "$dir/b158" "$dir/short" && cp "$dir/cut" "$dir/short/model.safetensors"
expect 3 "only" "$bitnet" convert "$dir/short" --qtype i2_s -o "$out"
cp -r "$dir/b158" "$dir/nameless" && rm "$dir/nameless/tokenizer.json"
expect 4 "tokenizer" "$bitnet" convert "$dir/nameless" --qtype i2_s -o "$out"
cp -r "$dir/shards" "$dir/gap" && rm "$dir/gap/model-00002-of-00003.safetensors"
expect 4 "model-00002-of-00003.safetensors" "$bitnet" convert "$dir/gap" --qtype i2_s -o "$out"
expect 4 "nowhere" "$bitnet" convert "$dir/b158" --qtype i2_s -o "$dir/nowhere/model.gguf"

# what no tensor takes up
for wish in "--tensor-type no.such.tensor=f16" "--tile 256,96,32"; do
    # shellcheck disable=SC2086
    expect 0 "warning: " "$bitnet" convert "$dir/b158" --qtype i2_s --dry-run $wish
done

# a link to a device is no file either
ln -s /dev/null "$dir/out/null"
"$bitnet" convert "$dir/b158" --qtype i2_s -o "$dir/out/null" --force >/dev/null 2>"$dir/stderr"
[ $? -eq 7 ] && [ -L "$dir/out/null" ] || fail "a link to a device was replaced: $(cat "$dir/stderr")"
rm "$dir/out/null"

# a disk that is too small, a closed standard output
(ulimit -f 64 && expect 7 "" "$bitnet" convert "$dir/b158" --qtype f16 -o "$out"; exit "$n_failed") || n_failed=$((n_failed + 1))
if [ -w /dev/full ]; then
    "$bitnet" convert "$dir/b158" --qtype i2_s --dry-run --json >/dev/full 2>"$dir/stderr"
    [ $? -eq 7 ] || fail "a full disk behind standard output was not noticed"
fi

# what works, and what it says
expect 0 "" "$bitnet" convert "$dir/b158" --qtype i2_s --dry-run
grep -q "would write" "$dir/stdout" || fail "--dry-run does not say what it would write"
[ -z "$(ls -A "$dir/out")" ] || fail "--dry-run wrote $(ls -A "$dir/out")"
expect 0 "" "$bitnet" convert "$dir/b158" --qtype i2_s -o "$out" --cert "$dir/out/model.json"
grep -q "every tensor read back and equal to its source" "$dir/stdout" || fail "nothing is said about the check"
expect 0 "" "$bitnet" gguf verify "$out" --cert "$dir/out/model.json" --source "$dir/b158"
expect 0 "" "$bitnet" gguf verify "$out" --cert "$dir/out/model.json" --source "$dir/b158" --json
grep -q '"source_checked":	true' "$dir/stdout" || fail "verify --json does not say what was checked"
expect 1 "config.json" "$bitnet" gguf verify "$out" --cert "$dir/out/model.json" --source "$dir/plain"
expect 0 "" "$bitnet" gguf validate "$out"
"$bitnet" convert "$dir/b158" --qtype i2_s -o "$out" >"$dir/stdout" 2>"$dir/stderr"
[ $? -eq 12 ] || fail "an existing file was not respected"
grep -qF -- "--force" "$dir/stderr" || fail "no hint at --force"
expect 0 "" "$bitnet" convert "$dir/b158" --outtype tl2 --outfile "$out" --force --json
python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); assert d["verified"] and d["tensors"]' "$dir/stdout" 2>"$dir/stderr" ||
    ! command -v python3 >/dev/null || fail "--json is no JSON: $(cat "$dir/stderr")"
[ -e "$dir/out/model.kernel_config.ini" ] || fail "no kernel_config.ini beside a TL2 file"
expect 0 "" "$bitnet" quantize "$out" "$dir/out/b.gguf" TQ2_0 2
expect 0 "" "$bitnet" quantize "$dir/out/b.gguf" "$dir/out/c.gguf" TL2
a=$("$bitnet" gguf hash --logical "$out") && c=$("$bitnet" gguf hash --logical "$dir/out/c.gguf")
[ "${a%% *}" = "${c%% *}" ] || fail "the logical hash changed on the way: $a $c"
expect 0 "" "$bitnet" gguf diff --logical "$out" "$dir/out/b.gguf"
expect 1 "places" "$bitnet" gguf diff "$out" "$dir/out/b.gguf"
(cd "$dir/out" && expect 0 "" "$bitnet" convert "$dir/b158" --qtype i2_s --name tiny; [ -e tiny-1.2M-I2_S.gguf ]) ||
    fail "the default name is not tiny-1.2M-I2_S.gguf: $(ls "$dir/out")"
rm -f "$dir"/out/*

# run before it gets its name, with an own word about itself
printf '{"general.author": "Ada", "general.tags": ["tiny"]}' >"$dir/metadata.json"
expect 0 "" "$bitnet" convert "$dir/b158" --qtype i2_s -o "$out" --verify ppl --metadata "$dir/metadata.json" --cert "$dir/out/model.json"
grep -q "perplexity of the fixed text" "$dir/stdout" || fail "--verify ppl says nothing: $(cat "$dir/stdout")"
expect 0 "" "$bitnet" gguf verify "$out" --cert "$dir/out/model.json" --source "$dir/b158"
"$bitnet" gguf dump "$out" general.author | grep -q Ada || fail "--metadata was not written"
expect 0 "" "$bitnet" convert "$out" --qtype tl2 -o "$dir/out/tl2.gguf" --verify logits
grep -q "the same bits as the source's" "$dir/stdout" || fail "TL2 gives other logits: $(cat "$dir/stdout")"
expect 0 "" "$bitnet" convert "$out" --qtype tl2 -o "$dir/out/again.gguf" --tile "$dir/out/tl2.kernel_config.ini"
cmp -s "$dir/out/tl2.gguf" "$dir/out/again.gguf" || fail "the tiles of the ini are not those that were written"
rm -f "$dir"/out/*
expect 2 "--i2s-layout" "$bitnet" quantize "$out" "$out" i2_s --i2s-layout D

# in parts, which are the whole again
expect 0 "" "$bitnet" convert "$dir/b158" --qtype i2_s -o "$dir/out/whole.gguf"
expect 0 "" "$bitnet" convert "$dir/b158" --qtype i2_s -o "$dir/out/part.gguf" --split-max-size 100K
[ ! -e "$dir/out/part.gguf" ] && [ "$(ls "$dir"/out/part-*-of-*.gguf | wc -l)" -gt 1 ] || fail "not in parts: $(ls "$dir/out")"
a=$("$bitnet" gguf hash --logical "$dir/out/whole.gguf") && c=$("$bitnet" gguf hash --logical "$(ls "$dir"/out/part-00001-of-*.gguf)")
[ "${a%% *}" = "${c%% *}" ] || fail "the parts hold something else: $a $c"
rm -f "$dir"/out/*

# a stop in the middle: 128 + signal, nothing left. The signal is sent when the file has been begun; that
# the program is not done a moment later is likely, so it is tried until it was so.
source_of big b158 masters 0 1024

begun() { # PID: true when the file has been begun, false when the program is done
    while kill -0 "$1" 2>/dev/null; do
        [ -n "$(ls -A "$dir/out")" ] && return 0
    done
    return 1
}

stop_with() { # SIGNAL CODE
    local pid code i
    for i in {1..50}; do
        "$bitnet" convert "$dir/big" --qtype i2_s -t 1 -o "$out" >"$dir/stdout" 2>"$dir/stderr" &
        pid=$!
        begun $pid && kill -$1 $pid 2>/dev/null
        wait $pid
        code=$?
        if [ $code -ne 0 ]; then
            [ $code -eq $2 ] || fail "exit code $code after $1: $(cat "$dir/stderr")"
            [ -z "$(ls -A "$dir/out")" ] || fail "left behind after $1: $(ls -A "$dir/out")"
            return
        fi
        rm -f "$out"
    done
    fail "no conversion was stopped in the middle by $1"
}

stop_with INT 130
stop_with TERM 143

# a checkpoint that becomes shorter while it is read
for i in {1..50}; do
    cp "$dir/big/model.safetensors" "$dir/whole"
    "$bitnet" convert "$dir/big" --qtype i2_s -t 1 -o "$out" >"$dir/stdout" 2>"$dir/stderr" &
    pid=$!
    begun $pid && kill -STOP $pid && truncate -s 4096 "$dir/big/model.safetensors"
    kill -CONT $pid 2>/dev/null
    wait $pid
    code=$?
    mv "$dir/whole" "$dir/big/model.safetensors"
    [ $code -ne 0 ] && break
    rm -f "$out"
done
[ $code -eq 7 ] || fail "exit code $code instead of 7 for a checkpoint that shrank"
grep -q "model.safetensors" "$dir/stderr" || fail "which file shrank is not said: $(cat "$dir/stderr")"
[ -z "$(ls -A "$dir/out")" ] || fail "left behind: $(ls -A "$dir/out")"

echo "$n_failed failed"
[ "$n_failed" -eq 0 ]
