#!/usr/bin/env bash
# bitnet gguf as a user meets it: every verb, its exit codes, one clear line per failure, nothing left
# behind. Argument: the bitnet program. The files are those of the fuzz corpus.
set -u
bitnet=$1
corpus=$(cd "$(dirname "$0")/../fuzz/corpus/gguf" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n_failed=0

fail() {
    printf 'FAILED: %s\n' "$*"
    n_failed=$((n_failed + 1))
}

# expect CODE WORDS verb...: exit code; words on either stream; a failure is one line, and leaves
# no file in the folder it was run in.
expect() {
    local code=$1 words=$2 got before
    shift 2
    before=$(ls -A "$dir/work")
    (cd "$dir/work" && "$bitnet" gguf "$@") >"$dir/stdout" 2>"$dir/stderr" </dev/null
    got=$?
    [ "$got" -eq "$code" ] || fail "exit code $got instead of $code: $*: $(head -c 300 "$dir/stderr")"
    [ -z "$words" ] || grep -qF -- "$words" "$dir/stdout" "$dir/stderr" ||
        fail "$*: no '$words' in: $(head -c 300 "$dir/stdout") $(head -c 300 "$dir/stderr")"
    [ "$code" -eq 0 ] && return
    [ "$(grep -c '^bitnet-gguf: error: ' "$dir/stderr")" -eq 1 ] || fail "not one error line: $*: $(cat "$dir/stderr")"
    [ "$before" = "$(ls -A "$dir/work")" ] || fail "left behind after $*: $(ls -A "$dir/work")"
}

same() { cmp -s "$dir/work/$1" "$dir/work/$2" || fail "$1 and $2 differ"; }

mkdir "$dir/work"
cp "$corpus"/{llama,b158_i2_s,bitnet,arrays,scalars}.gguf "$dir/work"
head -c 2000 "$corpus/llama.gguf" >"$dir/work/cut.gguf"
printf '<!DOCTYPE html><html>sign in</html>' >"$dir/work/page.gguf"

# wrong calls
"$bitnet" gguf >/dev/null 2>"$dir/stderr" && fail "no verb is no call"
grep -q "^Usage: bitnet-gguf VERB" "$dir/stderr" || fail "no verb: no usage"
expect 2 "there is no verb 'frobnicate'" frobnicate llama.gguf
expect 2 "" show
expect 2 "" show llama.gguf b158_i2_s.gguf
expect 2 "--dialect 'klingon' (allowed: ggml, bitnet.cpp, ik)" show --dialect klingon llama.gguf
expect 2 "--level 'deep' (allowed: structure, model)" validate --level deep llama.gguf
expect 2 "-o OUT is missing" edit llama.gguf
expect 2 "exclude each other" hash --raw --logical llama.gguf
expect 2 "--fix 'everything'" repair llama.gguf -o out.gguf --fix everything
expect 2 "say what to mend" repair llama.gguf -o out.gguf
expect 2 "--i2s-layout 'D' (allowed: B, C)" repair llama.gguf -o out.gguf --i2s-layout D
for verb in show dump validate diff hash edit repair split merge; do
    expect 0 "Usage: bitnet-gguf $verb" "$verb" --help
done
expect 0 "bitnet-gguf " --version

# wrong files
expect 4 "none.gguf" show none.gguf
expect 3 "page.gguf: this is a web page, not a model" dump page.gguf
expect 3 "cut.gguf: tensor 'blk.0.attn_q.weight': data ends at byte" validate cut.gguf
expect 3 "incomplete download or copy" validate cut.gguf
expect 3 "scalars.gguf: key 'general.architecture' is missing" validate scalars.gguf
expect 4 "key 'no.such' is missing" dump llama.gguf no.such
expect 2 "GGUF files, such as" show . # a folder stands for the one GGUF in it

# reading
expect 0 "llama.gguf: ok (structure, model)" validate llama.gguf
expect 0 "llama.gguf: ok (structure, model, data)" validate --deep llama.gguf
expect 0 "scalars.gguf: ok (structure)" validate --level structure scalars.gguf
expect 0 "general.file_type is 1, but most weights are I2_S" validate b158_i2_s.gguf
expect 0 '"ok":	true' validate --json llama.gguf
expect 0 '"warnings":	["general.file_type is 1' validate --json b158_i2_s.gguf
expect 3 '"status":	"FORMAT"' validate --json cut.gguf
expect 0 "I2_S" show --tensors b158_i2_s.gguf
expect 0 "not a model that we can run" show scalars.gguf
expect 0 '"schema_version":	1' show --json llama.gguf
expect 0 "string general.architecture = 'llama'" dump llama.gguf
expect 0 "u32    llama.block_count = 1" dump llama.gguf llama.block_count
expect 0 '"hex":	"ff00"' dump --json arrays.gguf
expect 0 '"shortened":	true' dump --json llama.gguf
"$bitnet" gguf dump --json --full "$dir/work/llama.gguf" | grep -q shortened && fail "--full shortens"

# comparing
expect 0 "" diff llama.gguf llama.gguf
expect 1 "key 'general.architecture': string 'llama' in A, string 'bitnet' in B" diff llama.gguf bitnet.gguf
expect 1 '"differences":	[' diff --json llama.gguf bitnet.gguf
expect 4 "tensor 'no.such' is in neither file" diff --tensor no.such llama.gguf bitnet.gguf
expect 0 "  llama.gguf" hash llama.gguf
expect 0 "  'token_embd.weight'" hash --logical --per-tensor llama.gguf

# writing
expect 0 "" edit llama.gguf -o same.gguf
same llama.gguf same.gguf
expect 12 "exists already" edit llama.gguf -o same.gguf
expect 0 "" edit llama.gguf -o same.gguf --force --set general.name=string:x --del tokenizer.chat_template
expect 1 "differ in 2 places" diff llama.gguf same.gguf
expect 2 "'x=u8' is not KEY=TYPE:VALUE" edit llama.gguf -o out.gguf --set x=u8
expect 2 "key 'x': '256' is no u8 (allowed 0 to 255)" edit llama.gguf -o out.gguf --set x=u8:256
expect 4 "key 'no.such' is not there" edit llama.gguf -o out.gguf --del no.such
expect 0 "3 parts: part-00001-of-00003.gguf" split llama.gguf part --max-size 600
expect 3 "part 2 of 3 of a split set" show part-00002-of-00003.gguf
expect 2 "the parts have no name: ''" split llama.gguf ""
expect 2 "the parts have no name: './'" split llama.gguf ./
expect 3 "llama.gguf is no part of a split set" merge llama.gguf out.gguf
expect 2 "key 'x': 'a\xff' is no UTF-8" edit llama.gguf -o out.gguf --set x=string:a$'\xff'
expect 2 "standard output cannot be read back" edit llama.gguf -o -
expect 0 "" merge part-00001-of-00003.gguf whole.gguf
same llama.gguf whole.gguf
rm "$dir/work/part-00002-of-00003.gguf"
expect 4 "part 2 of 3" validate part-00001-of-00003.gguf

# mending
expect 0 "general.file_type becomes 40: most weights are I2_S" repair b158_i2_s.gguf -o mended.gguf --fix all
expect 0 "mended.gguf: ok" validate mended.gguf
expect 2 "there is no pre-tokenizer 'klingon'" repair mended.gguf -o again.gguf --pre klingon
expect 12 "exists already" repair b158_i2_s.gguf -o mended.gguf --fix all
[ -s "$dir/stdout" ] && fail "told what was not mended: $(cat "$dir/stdout")"
expect 0 "nothing to mend" repair mended.gguf -o again.gguf --fix all
[ -e "$dir/work/again.gguf" ] && fail "a repair without faults wrote a file"

# the same for programs
json() { # KEY verb...: standard output is JSON of this verb, and has KEY
    local key=$1 verb=$2
    shift
    expect 0 "\"bitnet-gguf-$verb\"" "$@" --json --force
    grep -q "\"$key\"" "$dir/stdout" || fail "$*: no $key in: $(head -c 300 "$dir/stdout")"
    command -v python3 >/dev/null || return
    python3 -c 'import json,sys; json.load(open(sys.argv[1]))' "$dir/stdout" 2>/dev/null || fail "$*: no JSON"
}
json changes edit llama.gguf -o j.gguf --set general.name=string:x
json repairs repair b158_i2_s.gguf -o j.gguf --fix all
grep -q "general.file_type becomes 40" "$dir/stdout" || fail "repair --json does not say what it mended"
json files split llama.gguf jpart --max-size 600
grep -q "jpart-00003-of-00003.gguf" "$dir/stdout" || fail "split --json does not name the parts"
json files merge jpart-00001-of-00003.gguf j.gguf
expect 0 '"files":	[]' repair mended.gguf -o none.gguf --fix all --json

[ $n_failed -eq 0 ] && echo "all passed"
exit $((n_failed > 0))
