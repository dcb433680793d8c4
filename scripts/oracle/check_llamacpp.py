#!/usr/bin/env python3
"""Does llama.cpp read our files as we do? Through its Python bindings (xllamacpp).

    check_llamacpp.py BITNET MAKE_CHECKPOINT

For each type that llama.cpp knows: a random checkpoint is converted to it, and our own quantizer
writes the same weights as F32. llama.cpp loads both and gives the probabilities of the next token
after single ids (longer texts make a random model's rounding chaotic). If it decodes the blocks as we
do, they differ only by its rounding of activations to 8 bits; a block read otherwise gives other
tokens altogether.

Then every family that llama.cpp runs, as an F32 file made with --dialect llama.cpp: the probabilities
after a text of 24 tokens are those of reference.py (which record_families.py proves against
transformers, and test_families.c proves us against) with float activations. Exit code 77 without
xllamacpp.
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

import reference
import torch

IDS = [1] + [(7 * i * i + 31 * i + 5) % 256 + 3 for i in range(23)]
PROMPTS = [[i] for i in (1, 40, 77, 101, 150, 203)]
CASES = [("llama", "plain", t) for t in ("f16", "bf16", "q8_0", "q6_k", "q4_0", "iq2_s")]
CASES += [("llama", "divide", t) for t in ("tq1_0", "tq2_0", "iq2_s", "f16")]
CASES += [("bitnet", "masters", t) for t in ("tq1_0", "tq2_0", "f16")]


def next_tokens(path, prompts=PROMPTS):
    """For each prompt {id: log probability} of the likeliest tokens, by llama.cpp."""
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup, p.n_gpu_layers = path, 256, 1, False, 0
    p.cpuparams.n_threads = 1
    server, found = xllamacpp.Server(p), []
    for ids in prompts:
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


def check_family(bitnet, make, family):
    """True, False, or None when llama.cpp does not run it and we refuse to write it."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "f32.gguf")
        subprocess.run([make, "family", family, folder], check=True)
        made = subprocess.run([bitnet, "convert", folder, "--qtype", "f32", "--dialect", "llama.cpp", "-o", path],
                              capture_output=True, text=True)
        if made.returncode == 3 and "llama.cpp does not run the architecture" in made.stderr:
            return None
        assert made.returncode == 0, made.stderr
        prompts = [IDS[:n] for n in (1, 9, 17, 24)]
        theirs = next_tokens(path, prompts)
        ours = reference.Model(folder)
    logp = [ours.logits(ours.hidden(ids, as_int8=False, cache_is_f16=True))[-1].log_softmax(-1) for ids in prompts]
    pairs = [(p, float(row[i])) for row, top in zip(logp, theirs) for i, p in top.items() if p > -80]
    worst = max((abs(a - b) for a, b in pairs), default=9)
    mean = sum(abs(a - b) for a, b in pairs) / max(len(pairs), 1)
    firsts = sum(bool(top) and max(top, key=top.get) == int(row.argmax()) for row, top in zip(logp, theirs))
    good = len(pairs) >= 4 and mean < 0.01 and worst < 0.05 and firsts == sum(map(bool, theirs))
    print("%-7s %-24s mean difference of log probabilities %.5f, largest %.5f over %d tokens, same first choice %d times"
          % ("ok" if good else "FAILED", family, mean, worst, len(pairs), firsts), flush=True)
    return good


def check_families(bitnet, make):
    torch.set_num_threads(1)
    names = subprocess.run([make, "families"], check=True, capture_output=True, text=True).stdout.split()
    results = {name: check_family(bitnet, make, name) for name in names}
    unknown = [name for name in names if results[name] is None]
    print("llama.cpp does not run, and gets no file of: " + ", ".join(unknown))
    return sum(r is False for r in results.values()) + (len(unknown) != 4)


def main():
    bitnet, make = sys.argv[1:3]
    failed = check_families(bitnet, make)
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
