#!/usr/bin/env bash
# check_sampler.py in the environment that venv.sh made. Exit code 77: there is none.
set -eu
cd "$(dirname "$0")/../.."
venv=${BITNET_VENV:-build/venv}
if [ ! -x "$venv/bin/python" ]; then
    echo "SKIPPED: no Python environment in $venv (scripts/oracle/venv.sh makes it)"
    exit 77
fi
exec "$venv/bin/python" scripts/oracle/check_sampler.py "$@"
