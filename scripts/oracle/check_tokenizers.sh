#!/usr/bin/env bash
# Compares our token ids with those of the tokenizers, sentencepiece and tiktoken packages, live, on
# generated texts: see check_tokenizers.py, which gets all further arguments.
#
#   scripts/oracle/check_tokenizers.sh TOKENIZE_BATCH [--texts N] [--seed N] [--only NAME]
#
# exit 77: no Python environment (skipped)
set -eu
batch=$1
shift
cd "$(dirname "$0")/../.."
venv=${BITNET_VENV:-build/venv}
if [ ! -x "$venv/bin/python" ]; then
    echo "SKIPPED: no Python environment in $venv (scripts/oracle/venv.sh makes it)"
    exit 77
fi
exec "$venv/bin/python" scripts/oracle/check_tokenizers.py --batch "$batch" --data "$PWD/../shared/data" "$@"
