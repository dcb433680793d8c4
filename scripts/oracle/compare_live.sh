#!/usr/bin/env bash
# Asks transformers anew about models/tiny and runs the end-to-end test against its answers.
#
#   scripts/oracle/compare_live.sh TEST_PROGRAM      exit 77: no Python environment (skipped)
set -eu
test_program=$1
. "$(dirname "$0")/environment.sh"
answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT
"$python" scripts/oracle/record_tiny.py --out "$answers"
BITNET_REFERENCE=$answers "$test_program"
