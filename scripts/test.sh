#!/usr/bin/env bash
# Installs what is missing, builds, and passes the tests. Without arguments: the suite that a
# newcomer runs. With stage names: those stages; CI runs them all.
#
#   scripts/test.sh                 quick
#   scripts/test.sh STAGE...        quick clang sanitize thread hostile arm cuda long oracle fuzz
#
# Each stage has its own build folder under $BITNET_BUILD (default: build/ in the repository).
set -eu
cd "$(dirname "$0")/.."
out=${BITNET_BUILD:-$PWD/build}
jobs=$(nproc)
not_quick='oracle|long|gpu'

configure() { # folder, then CMake options; the CUDA plug-in has a stage of its own
    local folder=$1
    shift
    cmake -S . -B "$folder" -G Ninja -DBITNET_WERROR=ON -DBITNET_CUDA=OFF "$@" >"$out/configure.log" 2>&1 ||
        { cat "$out/configure.log"; exit 1; }
}
build() { ninja -C "$1" -j "$jobs" --quiet; }
run_tests() { # folder, then ctest options
    local folder=$1
    shift
    ctest --test-dir "$folder" -j "$jobs" --output-on-failure --no-tests=error "$@"
}

stage_quick() {
    scripts/packages.sh build test
    configure "$out/test"
    build "$out/test"
    run_tests "$out/test" -LE "$not_quick"
}

stage_clang() { # the other compiler, and the formatter
    scripts/packages.sh build test clang
    git ls-files '*.c' '*.h' '*.cu' '*.cc' | xargs clang-format --dry-run --Werror
    CC=clang CXX=clang++ configure "$out/clang"
    build "$out/clang"
    run_tests "$out/clang" -LE "$not_quick|structure"
}

stage_sanitize() { # a sanitized build warns about code that is not ours to see: plain builds are strict
    scripts/packages.sh build test
    configure "$out/sanitize" -DBITNET_SANITIZE=address,undefined -DBITNET_WERROR=OFF
    build "$out/sanitize"
    run_tests "$out/sanitize" -LE "$not_quick|structure"
}

stage_thread() {
    scripts/packages.sh build test
    configure "$out/thread" -DBITNET_SANITIZE=thread -DBITNET_WERROR=OFF
    build "$out/thread"
    run_tests "$out/thread" -L thread
}

stage_hostile() { # malformed files from outside the repository, plain and sanitized
    local shared=$PWD/../shared/hostile
    if [ ! -x "$shared/run_hostile.sh" ]; then
        echo "SKIPPED: hostile (no ../shared/hostile beside this repository)"
        return
    fi
    scripts/packages.sh build test
    configure "$out/test"
    configure "$out/sanitize" -DBITNET_SANITIZE=address,undefined -DBITNET_WERROR=OFF
    ninja -C "$out/test" --quiet bitnet
    ninja -C "$out/sanitize" --quiet bitnet
    [ -f "$out/hostile/manifest.tsv" ] || python3 "$shared/make_hostile.py" "$out/hostile" >"$out/hostile.log"
    local folder run
    for folder in test sanitize; do
        run=("$shared/run_hostile.sh" -t 60) # a slow machine is not hung
        [ "$folder" = test ] || run+=(-a)
        local bitnet=$out/$folder/bitnet
        "${run[@]}" -f gguf "$out/hostile" -- "$bitnet" gguf validate --deep {}
        "${run[@]}" -f safetensors,index,config,tokenizer,spm "$out/hostile" -- "$bitnet" convert --qtype f16 {dir} -o {out}
        "${run[@]}" -f tokenizer,spm "$out/hostile" -- "$bitnet" tokenize -m {dir} -p "some text"
    done
}

stage_arm() { # cross-built, run under emulation: every NEON set, and the same files as here
    scripts/packages.sh build test arm
    configure "$out/arm" --toolchain scripts/cmake/aarch64.cmake -DBITNET_HUB=OFF
    configure "$out/test"
    build "$out/arm"
    ninja -C "$out/test" -j "$jobs" --quiet bitnet make_model
    run_tests "$out/arm" -R '^kernels|gguf.test_reader|gguf.test_writer'
    local type
    for type in f32 f16 bf16 i2_s tl1 tl2 tq1_0 tq2_0 iq2_bn iq2_bn_r4 iq2_s q8_0 q6_k q4_0; do
        "$out/test/bitnet" convert models/tiny --qtype $type --allow-lossy --force \
            -o "$out/host.gguf" >/dev/null 2>&1
        qemu-aarch64 -cpu max "$out/arm/bitnet" convert models/tiny --qtype $type --allow-lossy \
            --force -o "$out/arm.gguf" >/dev/null
        cmp "$out/host.gguf" "$out/arm.gguf"
        echo "$type: the ARM build writes the same bytes"
    done
    for type in i2_s tl2 tq1_0 f16; do # nor does a synthetic model depend on the host
        "$out/test/tests/runtime/make_model" tiny $type "$out/host.gguf" q6_k 7
        qemu-aarch64 -cpu max "$out/arm/tests/runtime/make_model" tiny $type "$out/arm.gguf" q6_k 7
        cmp "$out/host.gguf" "$out/arm.gguf"
    done
}

stage_oracle() { # other people's programs, live
    scripts/packages.sh build test oracle
    export BITNET_VENV=${BITNET_VENV:-$out/venv}
    scripts/oracle/venv.sh
    configure "$out/test"
    build "$out/test"
    ninja -C "$out/test" --quiet logit-difference
    run_tests "$out/test" -L oracle
}

stage_long() { # kills, gigabytes, minutes
    scripts/packages.sh build test
    configure "$out/test"
    build "$out/test"
    run_tests "$out/test" -L long
}

stage_cuda() { # the plug-in for every chip: no spilled register, no driver linked, opens without one
    scripts/packages.sh build test
    if ! command -v nvcc >/dev/null; then
        echo "SKIPPED: cuda (no nvcc on this machine)"
        return
    fi
    configure "$out/cuda" -DBITNET_CUDA=ON -DBITNET_CUDA_ARCHITECTURES=ALL -DBITNET_CUDA_VERBOSE=ON
    ninja -C "$out/cuda" -j "$jobs" -v bitnet-cuda.so >"$out/cuda.log" 2>&1 ||
        { cat "$out/cuda.log"; exit 1; }
    scripts/cuda_report.py "$out/cuda.log"
    if ldd "$out/cuda/bitnet-cuda.so" | grep -q libcuda; then
        echo "the plug-in links the driver"
        exit 1
    fi
    build "$out/cuda"
    run_tests "$out/cuda" -L 'cuda|gpu'
}

stage_fuzz() { # a minute for each parser
    scripts/packages.sh build test clang
    CC=clang CXX=clang++ configure "$out/fuzz" -DBITNET_FUZZ=ON -DBITNET_SANITIZE=address,undefined
    build "$out/fuzz"
    local target
    for target in "$out"/fuzz/tests/fuzz/libfuzzer_*; do
        [ -x "$target" ] && [ -f "$target" ] || continue
        echo "fuzzing: ${target##*/}"
        "$target" -max_total_time="${BITNET_FUZZ_SECONDS:-60}" -rss_limit_mb=2048 -timeout=10 \
            "tests/fuzz/corpus/$(basename "${target#*libfuzzer_}")" 2>"$out/fuzz.log" ||
            { tail -40 "$out/fuzz.log"; exit 1; }
    done
}

mkdir -p "$out"
out=$(cd "$out" && pwd)
[ $# -gt 0 ] || set -- quick
for stage in "$@"; do
    type "stage_$stage" >/dev/null 2>&1 || { echo "test.sh: no such stage: $stage" >&2; exit 2; }
    echo "== $stage"
    started=$SECONDS
    "stage_$stage"
    echo "== $stage: passed in $((SECONDS - started)) s"
done
