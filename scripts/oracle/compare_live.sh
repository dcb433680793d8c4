#!/usr/bin/env bash
# Asks transformers anew about models/tiny and runs the end-to-end test against its answers.
#
#   scripts/oracle/compare_live.sh TEST_PROGRAM      exit 77: no Python environment (skipped)
set -eu
test_program=$1
cd "$(dirname "$0")/../.."
venv=${BITNET_VENV:-build/venv}
if [ ! -x "$venv/bin/python" ]; then
    echo "SKIPPED: no Python environment in $venv (scripts/oracle/venv.sh makes it)"
    exit 77
fi
answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT
"$venv/bin/python" scripts/oracle/record_tiny.py --out "$answers"
BITNET_REFERENCE=$answers "$test_program"
