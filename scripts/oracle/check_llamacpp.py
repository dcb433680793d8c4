#!/usr/bin/env python3
"""Does llama.cpp read our files as we do? Through its Python bindings (xllamacpp).

    check_llamacpp.py BITNET MAKE_CHECKPOINT

For each type that llama.cpp knows: a random checkpoint is converted to it, and our own quantizer
writes the same weights as F32. llama.cpp loads both and gives the probabilities of the next token
after single ids (longer texts make a random model's rounding chaotic). If it decodes the blocks as we
do, they differ only by its rounding of activations to 8 bits; a block read otherwise gives other
tokens altogether. Exit code 77 without xllamacpp.
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import xllamacpp
except ImportError:
    print("SKIPPED: xllamacpp is not installed (scripts/oracle/venv.sh makes the environment)")
    sys.exit(77)

PROMPTS = [[i] for i in (1, 40, 77, 101, 150, 203)]
CASES = [("llama", "plain", t) for t in ("f16", "bf16", "q8_0", "q6_k", "q4_0", "iq2_s")]
CASES += [("llama", "divide", t) for t in ("tq1_0", "tq2_0", "iq2_s", "f16")]
CASES += [("bitnet", "masters", t) for t in ("tq1_0", "tq2_0", "f16")]


def next_tokens(path):
    """For each prompt {id: log probability} of the likeliest tokens, by llama.cpp."""
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup, p.n_gpu_layers = path, 256, 1, False, 0
    p.cpuparams.n_threads = 1
    server, found = xllamacpp.Server(p), []
    for ids in PROMPTS:
        answer = server.handle_completions({"prompt": ids, "n_predict": 1, "n_probs": 20,
                                            "temperature": 0, "cache_prompt": False})
        answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
        content = (answer["choices"][0]["logprobs"] or {}).get("content")  # none at the end token
        top = content[0]["top_logprobs"] if content else []
        found.append({t["id"]: t["logprob"] for t in top})
    return found


def compare(a, b):
    """(mean difference of log probabilities, tokens compared, prompts with another first choice)"""
    sum_, n, other = 0.0, 0, 0
    for x, y in zip(a, b):
        likely = [i for i in y if i in x and y[i] > -8]
        sum_ += sum(abs(x[i] - y[i]) for i in likely)
        n += len(likely)
        other += bool(x) and bool(y) and max(x, key=x.get) != max(y, key=y.get)
    return sum_ / max(n, 1), n, other


def main():
    bitnet, make = sys.argv[1:3]
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        for arch, storage, qtype in CASES:
            folder = os.path.join(work, arch + storage)
            if not os.path.isdir(folder):
                os.mkdir(folder)
                subprocess.run([make, arch, storage, folder], check=True)
            ours, plain = (os.path.join(folder, n) for n in (qtype + ".gguf", qtype + "-f32.gguf"))
            quiet = {"check": True, "stdout": subprocess.DEVNULL}
            subprocess.run([bitnet, "convert", folder, "--qtype", qtype, "-o", ours], **quiet)
            subprocess.run([bitnet, "quantize", ours, plain, "f32", "--embd-type", "f32"], **quiet)
            mean, n, other = compare(next_tokens(ours), next_tokens(plain))
            good = n >= 4 and mean < 0.4 and other <= 1
            failed += not good
            print("%-7s %-6s %-7s %-6s mean difference of log probabilities %.4f over %d tokens, "
                  "another first choice %d times"
                  % ("ok" if good else "FAILED", arch, storage, qtype, mean, n, other),
                  flush=True)
    print("%d failed" % failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
