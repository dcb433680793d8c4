#!/usr/bin/env bash
# check_perplexity.py in the environment that venv.sh made. Exit code 77: there is none.
set -eu
. "$(dirname "$0")/environment.sh"
exec "$python" scripts/oracle/check_perplexity.py "$@"
