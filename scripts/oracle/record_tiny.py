#!/usr/bin/env python3
"""Writes down what transformers says about the tiny model: tests/golden/tiny/.

    BITNET_VENV=DIR scripts/oracle/venv.sh && DIR/bin/python scripts/oracle/record_tiny.py [--out FOLDER]

Everything is computed by transformers' own BitNet classes from the committed checkpoint, evaluated eagerly (no fused
kernels) on the CPU, in float32 unless a name says bfloat16. README.md beside the files says what arithmetic that is.
One thread, so that a second run gives the same bytes on the same machine.
"""
import argparse
import hashlib
import json
import math
import os
import platform
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts", "tiny"))

import evaluate  # first: it asks torch for eager evaluation

import accelerate
import numpy
import safetensors
import tokenizers
import torch
import transformers

MODEL = os.path.join("models", "tiny")
HELD_OUT = os.path.join(MODEL, "heldout.txt")
EXCERPT, EVERY, NEW = 96, 8, 64
PROMPTS = ["Once upon a time", "One day Mia went to the", "Tom had five apples. His friend Anna gave him three more."]
CHATS = [[{"role": "user", "content": "What is 7 plus 5?"}],
         [{"role": "user", "content": "Hello!"}],
         [{"role": "system", "content": "You are a helpful assistant."},
          {"role": "user", "content": "What day comes after Monday?"},
          {"role": "assistant", "content": "Tuesday comes after Monday."},
          {"role": "user", "content": "Tell me a story about Lily."}]]


def rounded(values, digits=6):
    return [round(float(v), digits) for v in values]


@torch.no_grad()
def excerpt(model, ids, folder):
    """Logits of every eighth position, and of every position the choice, its lead and the loss of the next token."""
    out = model(torch.tensor([ids]), output_hidden_states=True)
    logits = out.logits[0]
    logp = logits.double().log_softmax(-1)
    top = logits.topk(2, -1)
    at = list(range(0, len(ids), EVERY)) + [len(ids) - 1]
    hidden = torch.stack([h[0, p] for p in (0, len(ids) - 1) for h in out.hidden_states])
    logits[at].numpy().astype("<f4").tofile(os.path.join(folder, "logits.f32"))
    hidden.numpy().astype("<f4").tofile(os.path.join(folder, "hidden.f32"))
    return {"ids": ids, "logits_positions": at, "hidden_positions": [0, len(ids) - 1],
            "hidden_steps": ["embedding"] + [f"after layer {i}" for i in range(len(out.hidden_states) - 2)]
            + ["after last layer and output norm"], "argmax": top.indices[:, 0].tolist(),
            "lead": rounded(top.values[:, 0] - top.values[:, 1], 4),
            "next_nll": rounded(-logp[:-1].gather(-1, torch.tensor(ids[1:])[:, None])[:, 0])}


@torch.no_grad()
def greedy(model, tokenizer, text, stops):
    """Argmax continuation, recomputed from the start for every token: no cache can differ."""
    ids = tokenizer(text).input_ids
    prompt, leads = len(ids), []
    while len(ids) < prompt + NEW and (len(ids) == prompt or ids[-1] not in stops):
        top = model(torch.tensor([ids])).logits[0, -1].topk(2)
        leads.append(float(top.values[0] - top.values[1]))
        ids = ids + [int(top.indices[0])]
    return {"prompt": text, "prompt_ids": ids[:prompt], "ids": ids[prompt:], "text": tokenizer.decode(ids[prompt:]),
            "smallest_lead": round(min(leads), 4)}


@torch.no_grad()
def perplexity(model, ids, bos, ctx):
    nll, count, _ = evaluate.perplexity(model, ids, bos, ctx)
    chunks = [evaluate.perplexity(model, ids[i:i + ctx], bos, ctx)[0] for i in range(0, len(ids) - ctx + 1, ctx)]
    return {"perplexity": round(math.exp(nll), 6), "nll": round(nll, 7), "chunks": len(chunks),
            "scored_tokens": count, "chunk_nll": rounded(chunks)}


def write(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1, ensure_ascii=False)
        f.write("\n")


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", default=os.path.join(ROOT, "tests", "golden", "tiny"))
    out = os.path.abspath(args.parse_args().out)
    os.chdir(ROOT)
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(1)
    with open(HELD_OUT, encoding="utf-8", newline="") as f:
        text = f.read()
    table = {}
    for dtype in ("bfloat16", "float32"):
        model, tokenizer = evaluate.load(MODEL, dtype)
        ids = tokenizer(text).input_ids
        table[dtype] = {f"ctx{ctx}": perplexity(model, ids, tokenizer.bos_token_id, ctx) for ctx in (256, 512)}
    stops = tokenizer.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"])
    write(out, "perplexity.json", {
        "text": HELD_OUT, "tokens_with_bos": len(ids),
        **{f"perplexity_{ctx}": table["float32"][f"ctx{ctx}"]["perplexity"] for ctx in (256, 512)}, **table})
    write(out, "excerpt.json", excerpt(model, ids[:EXCERPT], out))
    chats = []
    for chat in CHATS:
        prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        chats.append({"messages": chat, **greedy(model, tokenizer, prompt, stops)})
    write(out, "greedy.json", {"plain": [greedy(model, tokenizer, p, stops) for p in PROMPTS], "chat": chats})
    files = ["perplexity.json", "excerpt.json", "greedy.json", "logits.f32", "hidden.f32"]
    inputs = [os.path.join(MODEL, n) for n in ("model.safetensors", "config.json", "tokenizer.json", "heldout.txt")]
    write(out, "MANIFEST.json", {
        "made_by": "scripts/oracle/record_tiny.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "transformers": transformers.__version__, "tokenizers": tokenizers.__version__,
                     "safetensors": safetensors.__version__, "accelerate": accelerate.__version__,
                     "numpy": numpy.__version__},
        "arithmetic": "CPU, one thread, eager; float32 after widening the bfloat16 checkpoint",
        "inputs": {p.replace(os.sep, "/"): sha256(p) for p in inputs},
        "files": {n: {"sha256": sha256(os.path.join(out, n)), "bytes": os.path.getsize(os.path.join(out, n))}
                  for n in files}})


if __name__ == "__main__":
    main()
