#!/usr/bin/env bash
# Asks transformers anew about every family's checkpoint (tests/convert/family.c), and runs the test of
# the families against its answers: record_families.py holds transformers against a written-out reference,
# test_families holds the product against that reference. Each says what it allows and why.
#
#   scripts/oracle/compare_families.sh MAKE_CHECKPOINT TEST_FAMILIES    77: no Python environment (skipped)
set -eu
make=$1 test_program=$2
. "$(dirname "$0")/environment.sh"
answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT
"$python" scripts/oracle/record_families.py "$make" --out "$answers"
BITNET_REFERENCE=$answers BITNET_SHOW=1 "$test_program"
