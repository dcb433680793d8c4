#!/bin/sh
# Builds the kernel harness for 64-bit ARM and runs it under emulation as three CPUs: plain NEON,
# SDOT, SMMLA. Needs gcc-aarch64-linux-gnu and qemu-user; without them it says so and exits 77.
#     scripts/check_arm.sh [BUILD_DIR]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/arm}
for tool in aarch64-linux-gnu-gcc qemu-aarch64 cmake ninja; do
    if ! command -v "$tool" >/dev/null; then
        echo "check_arm.sh: skipped, $tool is not installed" >&2
        exit 77
    fi
done
mkdir -p "$build"
# Warnings about the host's libraries concern programs that are not built here.
cmake -S "$root" -B "$build" -G Ninja --toolchain "$root/scripts/cmake/aarch64.cmake" \
    -DBITNET_TOOLS=OFF -DBITNET_WERROR=ON >"$build/configure.log" 2>&1 ||
    { cat "$build/configure.log" >&2; exit 1; }
ninja -C "$build" check_kernels >/dev/null
for cpu in cortex-a57 neoverse-n1 max; do
    echo "== $cpu"
    qemu-aarch64 -cpu "$cpu" "$build/tests/kernels/check_kernels"
done
