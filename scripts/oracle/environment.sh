# For the other scripts of this folder, which read it: goes to the repository's root and sets `python` to the
# interpreter of the environment that venv.sh made. Without one the script ends with 77, which tests call skipped.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${BITNET_VENV:-build/venv}/bin/python
if [ ! -x "$python" ]; then
    echo "SKIPPED: no Python environment in ${BITNET_VENV:-build/venv} (scripts/oracle/venv.sh makes it)"
    exit 77
fi
