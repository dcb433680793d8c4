#!/usr/bin/env python3
"""Speed of this program and of others on files of one shape, in turn. Called by peers.sh.

    peers.py --bitnet PROGRAM [--threads N] [--rounds R] [--prompt 512] [--generate 64] [--before CMD] NAME=FILE...
    peers.py --worker llama.cpp|transformers FILE THREADS PROMPT GENERATE

NAME is bitnet, bitnet:LEVEL (--cpu LEVEL), llama.cpp or transformers (FILE is then the name of a
shape, the weights are bf16). Every measurement is a process of its own: open, one unmeasured run
of each test, one measured; rounds go through all contenders in turn, so that a disturbance meets everybody. What is
told is the median, the smallest and the largest. Times are of evaluation alone, as llama-bench takes them.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def peak_rss_mib():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 1024


def work_llamacpp(path, threads, n_prompt, n_generate):
    sys.path.insert(0, os.path.join(HERE, "..", "oracle"))
    from llamacpp import Llama
    begin = time.perf_counter()
    llama = Llama(path, n_ctx=n_prompt + n_generate, n_batch=n_prompt, n_threads=threads)
    load = time.perf_counter() - begin
    prompt = [(i * 7919 + 1) % llama.n_vocab for i in range(n_prompt)]
    for _ in range(2):
        llama.clear()
        begin = time.perf_counter()
        llama.eval(prompt)
        middle = time.perf_counter()
        llama.clear()
        begin_generate = time.perf_counter()
        for token in prompt[:n_generate]:
            llama.eval([token])
        end = time.perf_counter()
    return {"prompt": n_prompt / (middle - begin), "generate": n_generate / (end - begin_generate),
            "load_ms": 1e3 * load, "kernels": "its build: AVX2" if "AVX512" not in
            llama.lib.llama_print_system_info().decode() else "AVX-512"}


# hidden, feed-forward, layers, heads, key/value heads, vocabulary; as in make_model.c
SHAPES = {"2b4t": (2560, 6912, 30, 20, 5, 128256), "large": (1536, 4096, 24, 16, 16, 32002),
          "3b": (3200, 8640, 26, 32, 32, 32002), "tiny": (512, 1024, 2, 8, 2, 1000)}


def work_transformers(shape, threads, n_prompt, n_generate):
    import torch
    from transformers import BitNetConfig, BitNetForCausalLM
    torch.set_num_threads(threads)
    hidden, feed_forward, layers, heads, kv_heads, vocabulary = SHAPES[shape]
    config = BitNetConfig(hidden_size=hidden, intermediate_size=feed_forward, num_hidden_layers=layers,
                          num_attention_heads=heads, num_key_value_heads=kv_heads, vocab_size=vocabulary,
                          max_position_embeddings=4096)
    begin = time.perf_counter()
    with torch.device("meta"):
        model = BitNetForCausalLM(config).to(torch.bfloat16)
    model.to_empty(device="cpu")
    for p in model.parameters():
        p.data.fill_(0.01)
    for module in model.modules():
        if hasattr(module, "inv_freq"):
            module.inv_freq = torch.ones_like(module.inv_freq)
    load = time.perf_counter() - begin
    model.tie_weights()
    with torch.inference_mode():
        prompt = torch.arange(1, n_prompt + 1)[None]
        for _ in range(2):
            begin = time.perf_counter()
            model(prompt, logits_to_keep=1, use_cache=True)
            middle = time.perf_counter()
            state = model(prompt[:, :1], use_cache=True).past_key_values
            begin_generate = time.perf_counter()
            for i in range(n_generate):
                state = model(prompt[:, i:i + 1], past_key_values=state, use_cache=True).past_key_values
            end = time.perf_counter()
    return {"prompt": n_prompt / (middle - begin), "generate": n_generate / (end - begin_generate),
            "load_ms": 1e3 * load, "kernels": "torch, bf16"}


def work(name, path, threads, n_prompt, n_generate):
    run = {"llama.cpp": work_llamacpp, "transformers": work_transformers}[name]
    result = run(path, int(threads), int(n_prompt), int(n_generate))
    result["rss_mib"] = peak_rss_mib()
    print(json.dumps(result))


def measure(options, name, path):
    """One measurement of one contender."""
    before = shlex.split(options.before)
    if not name.startswith("bitnet"):
        out = subprocess.run(before + [sys.executable, __file__, "--worker", name, path, str(options.threads),
                                       str(options.prompt), str(options.generate)], check=True, stdout=subprocess.PIPE)
        return json.loads(out.stdout.splitlines()[-1])
    command = [options.bitnet, "bench", "-q", "-m", path, "-t", str(options.threads), "-r", "1", "-o", "json",
               "-p", str(options.prompt), "-n", str(options.generate), "--tuning", "none"]
    if ":" in name:
        command += ["--cpu", name.split(":")[1]]
    out = json.loads(subprocess.run(before + command, check=True, stdout=subprocess.PIPE).stdout)
    prompt, generate = out["tests"]
    return {"prompt": prompt["median"], "generate": generate["median"], "load_ms": prompt["load_ms"],
            "rss_mib": generate["peak_rss_bytes"] / 1048576, "kernels": prompt["kernels"]}


def spread(values):
    return "%.1f (%.1f to %.1f)" % (statistics.median(values), min(values), max(values))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bitnet", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--before", default="", help="a command that runs each measurement, such as 'taskset -c 0,1'")
    parser.add_argument("--json", help="keep all measurements in this file")
    parser.add_argument("contenders", nargs="+")
    options = parser.parse_args()
    contenders = [tuple(c.split("=", 1)) for c in options.contenders]
    found = {c: [] for c in contenders}
    for i in range(options.rounds):
        for c in contenders:
            where = "round %d: %s %s" % (i + 1, c[0], os.path.basename(c[1]))
            try:
                found[c].append(measure(options, *c))
            except subprocess.CalledProcessError as e:  # one that fails takes nothing from the others
                print("%s: FAILED with exit code %d" % (where, e.returncode), file=sys.stderr, flush=True)
                continue
            print("%s: %.1f, %.1f" % (where, found[c][-1]["prompt"], found[c][-1]["generate"]), file=sys.stderr,
                  flush=True)
    if options.json:
        with open(options.json, "w") as f:
            json.dump([{"name": n, "file": p, "runs": r} for (n, p), r in found.items()], f, indent=1)
    found = {c: runs for c, runs in found.items() if runs}
    if not found:
        sys.exit("peers.py: nobody could be measured")
    first = next(iter(found.values()))
    base = {k: statistics.median(r[k] for r in first) for k in ("prompt", "generate")}
    print("| program | file | kernels | pp%d tokens/s | ratio | tg%d tokens/s | ratio | load ms | peak RSS MiB |"
          % (options.prompt, options.generate))
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    for (name, path), runs in found.items():
        row = {k: [r[k] for r in runs] for k in ("prompt", "generate", "load_ms", "rss_mib")}
        print("| %s | %s | %s | %s | %.2f | %s | %.2f | %.0f | %.0f |" % (
            name.split(":")[0], os.path.basename(path), runs[0]["kernels"], spread(row["prompt"]),
            statistics.median(row["prompt"]) / base["prompt"], spread(row["generate"]),
            statistics.median(row["generate"]) / base["generate"], statistics.median(row["load_ms"]),
            statistics.median(row["rss_mib"])))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
    else:
        main()
