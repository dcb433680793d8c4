#!/usr/bin/env bash
# What every tool owes to whoever runs it, whatever it does: a result that did not arrive is a failure, a
# mapped file that shrinks is named, an interruption leaves nothing behind. Arguments: the bitnet program,
# a model's folder.
set -u
bitnet=$1
model=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n_failed=0

fail() {
    printf 'FAILED: %s\n' "$*"
    n_failed=$((n_failed + 1))
}

said() { grep -qF -- "$1" "$dir/stderr" || fail "no '$1' in: $(head -c 300 "$dir/stderr")"; }

# A GGUF with one tensor of so many GB, most of which lie nowhere on the disk: long enough to be read for
# a minute.
u32() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 24)))"; }
u64() { u32 $(($1 & 0xffffffff)) && u32 $(($1 >> 32)); }
make_large() { # FILE GB
    { printf GGUF && u32 3 && u64 1 && u64 0; } >"$1"                                # version, tensors, keys
    { u64 1 && printf a && u32 1 && u64 $(($2 << 28)) && u32 0 && u64 0; } >>"$1"    # name, dims, F32, offset
    truncate -s $((64 + ($2 << 30))) "$1"
}

wait_until() { # CONDITION...: true within a minute
    local i
    for i in {1..6000}; do
        "$@" 2>/dev/null && return 0
        sleep 0.01
    done
    return 1
}

# Has used so many hundredths of a second of a processor: it is long past opening its files.
works() { [ "$(awk '{ print $14 + $15 }' "/proc/$1/stat")" -gt "$2" ]; }
holds_a_file() { [ -n "$(ls -A "$1")" ]; }

# the result does not arrive (calls are split at spaces, so the names have none)
cd "$dir" || exit 1
ln -s "$model" source
"$bitnet" convert source --qtype i2_s -o "$dir/model.gguf" --quiet >/dev/null 2>&1 || fail "no model"
for call in "--help" "--version" "gguf --help" "gguf show --help" "gguf show model.gguf" "convert --help" \
    "convert source --qtype tl2 --dry-run" "convert source --qtype tl2 --dry-run --json" "tokenize --version" \
    "tokenize -m model.gguf -p hello"; do
    IFS=' ' read -r -a words <<<"$call"
    if [ -w /dev/full ]; then
        "$bitnet" "${words[@]}" >/dev/full 2>"$dir/stderr"
        [ $? -eq 7 ] || fail "$call: a full disk behind standard output was not noticed"
        said "error: standard output: "
    fi
    "$bitnet" "${words[@]}" >&- 2>"$dir/stderr"
    [ $? -eq 7 ] || fail "$call: a closed standard output was not noticed"
    [ "$(grep -c 'error:' "$dir/stderr")" -eq 1 ] || fail "$call: not one error line: $(cat "$dir/stderr")"
    "$bitnet" "${words[@]}" >"$dir/stdout" 2>&- <&- || fail "$call: wants an open standard error or input"
done

# closed streams never become the file that is written
"$bitnet" convert "$model" --qtype i2_s -o "$dir/other.gguf" <&- >&- 2>&-
cmp -s "$dir/model.gguf" "$dir/other.gguf" || fail "what was printed went into the file"

# a file that becomes shorter while it is read
if make_large "$dir/large.gguf" 64 2>/dev/null; then
    "$bitnet" gguf hash "$dir/large.gguf" >"$dir/stdout" 2>"$dir/stderr" &
    pid=$!
    wait_until works $pid 20 || fail "the large file is not read"
    kill -STOP $pid && truncate -s 100 "$dir/large.gguf" && kill -CONT $pid
    wait $pid
    code=$?
    [ $code -eq 7 ] || fail "exit code $code instead of 7 for a file that shrank"
    said "bitnet-gguf: error: '$dir/large.gguf' became shorter while it was read"
    said "bitnet-gguf: hint: "
    [ ! -s "$dir/stdout" ] || fail "a hash of a file that shrank: $(cat "$dir/stdout")"

else
    echo "SKIPPED: a file that shrinks (no sparse files of 64 GB in ${TMPDIR:-/tmp})"
fi

# an interruption in the middle of writing
if [ "$(df --output=avail -k "$dir" | tail -1)" -gt 2000000 ]; then
    make_large "$dir/large.gguf" 1
    for signal in INT TERM HUP; do
        mkdir "$dir/out"
        # A shell starts what runs behind it with SIGINT ignored; env gives it back.
        env --default-signal=INT "$bitnet" gguf split "$dir/large.gguf" "$dir/out/part" >"$dir/stdout" 2>"$dir/stderr" &
        pid=$!
        wait_until holds_a_file "$dir/out" || fail "nothing is written"
        kill -$signal $pid
        wait $pid 2>/dev/null # the shell would tell of a hangup
        code=$?
        case $signal:$code in INT:130 | TERM:143 | HUP:129) ;; *) fail "exit code $code after $signal" ;; esac
        [ -z "$(ls -A "$dir/out")" ] || fail "left behind after $signal: $(ls -A "$dir/out")"
        rm -rf "$dir/out"
    done
else
    echo "SKIPPED: interruptions (less than 2 GB free in ${TMPDIR:-/tmp})"
fi

echo "$n_failed failed"
[ "$n_failed" -eq 0 ]
