#!/usr/bin/env bash
# bitnet-hub beside curl, aria2 (with checksum) and huggingface_hub: one large file and many small
# ones over loopback, all tools in turn, several rounds. Prints wall time, processor time and peak
# memory of each, the median of the rounds.
#
#   scripts/bench/hub.sh BUILD_FOLDER [MIB] [SMALL_FILES] [ROUNDS]      default: 1024 300 3
#
# BUILD_FOLDER holds `bitnet` and `tests/hub/serve_hub`. Tools that are not there are left out, by
# name: aria2c and curl from the path, huggingface_hub from BITNET_VENV. Data go to $TMPDIR.
set -eu
build=${1:?folder of the build}
mib=${2:-1024}
small=${3:-300}
rounds=${4:-3}
work=$(mktemp -d "${TMPDIR:-/tmp}/bench-hub.XXXXXX")
trap 'rm -rf "$work"' EXIT
head -c "${mib}M" /dev/urandom >"$work/large"

exec python3 - "$build" "$work" "$small" "$rounds" "$mib" <<'PYTHON'
import os, shutil, statistics, subprocess, sys, time

build, work, n_small, rounds, mib = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
server = subprocess.Popen([f"{build}/tests/hub/serve_hub", f"{work}/large", n_small],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
endpoint, url, sha = (server.stdout.readline().strip() for _ in range(3))
target = f"{work}/target"
venv = os.environ.get("BITNET_VENV", "build/venv")
python_pull = "from huggingface_hub import snapshot_download as s; s('org/model', allow_patterns=['%s'])"
env = dict(os.environ, HF_ENDPOINT=endpoint, HF_HOME=f"{target}/hf", HF_HUB_CACHE=f"{target}/hub",
           HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1")
env.pop("HF_TOKEN", None)


def run(command):
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    os.sync()
    begin = time.monotonic()
    child = subprocess.Popen(command, env=env, cwd=target, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - begin
    assert status == 0, (command, status)
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


bitnet = [f"{os.path.abspath(build)}/bitnet", "hub", "pull", "org/model", "-q"]
large = {"bitnet-hub (verified)": bitnet + ["model.safetensors"]}
files = {"bitnet-hub (verified)": bitnet + ["--include", "small/*"]}
if shutil.which("curl"):
    large["curl (no check)"] = ["curl", "-s", "-o", "large", url]
    large["curl, then sha256sum"] = ["sh", "-c", f"curl -s -o large {url} && echo '{sha}  large' | sha256sum -c"]
if shutil.which("aria2c"):
    large["aria2c -x4 --checksum"] = ["aria2c", "-q", "-x4", "-s4", "-k16M", f"--checksum=sha-256={sha}", "-o", "large", url]
python = f"{venv}/bin/python"
if os.path.exists(python):
    large["huggingface_hub (no check)"] = [python, "-c", python_pull % "model.safetensors"]
    files["huggingface_hub (no check)"] = [python, "-c", python_pull % "small/*"]
for name, tool in (("curl", shutil.which("curl")), ("aria2c", shutil.which("aria2c")),
                   ("huggingface_hub", os.path.exists(python))):
    if not tool:
        print(f"SKIPPED: {name} is not installed")

for title, commands in ((f"{mib} MiB, one file", large), (f"{n_small} small files", files)):
    results = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            results[name].append(run(command))
    print(f"\n{title}: median of {rounds}\n{'':28s} {'wall s':>8s} {'cpu s':>8s} {'peak MiB':>9s}")
    for name, values in results.items():
        print(f"{name:28s} " + " ".join(f"{statistics.median(v[i] for v in values):{w}.2f}"
                                         for i, w in ((0, 8), (1, 8), (2, 9))))
server.stdin.close()
print("\n" + server.stdout.read().strip())
shutil.rmtree(work)
PYTHON
