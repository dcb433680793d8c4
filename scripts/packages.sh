#!/usr/bin/env bash
# Installs the Debian packages that a job needs and that are missing; does nothing (and needs no
# rights and no network) when all are there.
#
#   scripts/packages.sh build test        groups: build, test, arm, clang, oracle, bench
set -eu

build="gcc g++ cmake ninja-build pkg-config libc6-dev libcjson-dev libcurl4-openssl-dev libssl-dev
       libzstd-dev libsentencepiece-dev"
test="libcmocka-dev python3"
clang="clang libclang-rt-14-dev clang-format"
arm="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user libcjson-dev:arm64 libcmocka-dev:arm64
     libssl-dev:arm64"
oracle="python3 python3-venv nginx-light"
bench="hyperfine"

missing=
for group in "$@"; do
    eval "wanted=\${$group:?no such group}"
    for package in $wanted; do
        dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
            missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || {
    echo "packages.sh: this is no Debian; please install:$missing" >&2
    exit 1
}
root=
[ "$(id -u)" = 0 ] || root=sudo
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
case $missing in *:arm64*) $root dpkg --add-architecture arm64 ;; esac
# An arm64 library must have the very version of its neighbour, so that one is brought up to date.
case $missing in *libssl-dev:arm64*) missing="$missing libssl-dev" ;; esac
# shellcheck disable=SC2086
$root apt-get update -qq && $root apt-get install -y -qq --no-install-recommends $missing >&2
