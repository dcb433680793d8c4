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
. "$(dirname "$0")/environment.sh"
exec "$python" scripts/oracle/check_tokenizers.py --batch "$batch" --data "$PWD/../shared/data" "$@"
