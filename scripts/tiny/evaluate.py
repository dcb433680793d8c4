#!/usr/bin/env python3
"""Perplexity of a checkpoint through transformers, beside the floor that the grammar sets for the same tokens.

    python3 evaluate.py --model models/tiny --text models/tiny/heldout.txt [--ctx 512] [--dtype float32] [--ask 200]

Perplexity by the definition of the llama.cpp tool of that name: the text is tokenized once, begin-of-text in front; cut
into chunks of ctx tokens, the rest dropped; the first token of every chunk is replaced by begin-of-text; of each chunk
the tokens at ctx/2 + 1 ... ctx - 1 are scored; the result is exp of the mean negative log likelihood.

The floor takes every decision of the grammar at the token in which its text begins, so it is known for just the scored
tokens. --ask measures the other half of the training: how many questions are answered word for word.
"""
import argparse
import bisect
import json
import math
import os
import random

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # plain evaluation of what the source says, without fused kernels

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

import grammar


def load(path, dtype):
    """The checkpoint in one dtype throughout. Asking from_pretrained for float32 leaves embeddings and norms bfloat16
    beside float32 linears (transformers 5.23), which does not run; widening afterwards is exact."""
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto", attn_implementation="eager")
    return model.to(getattr(torch, dtype)).eval(), AutoTokenizer.from_pretrained(path)


@torch.no_grad()
def perplexity(model, ids, bos, ctx, batch=8):
    """(mean negative log likelihood of the scored tokens, their number, their positions in ids)."""
    chunks = [ids[i:i + ctx] for i in range(0, len(ids) - ctx + 1, ctx)]
    first = ctx // 2
    nll, count, scored = 0.0, 0, []
    for at in range(0, len(chunks), batch):
        part = torch.tensor(chunks[at:at + batch])
        part[:, 0] = bos
        logp = model(part).logits[:, first:-1].double().log_softmax(-1)
        nll -= logp.gather(-1, part[:, first + 1:, None]).sum().item()
        count += part.shape[0] * (ctx - first - 1)
    for c in range(len(chunks)):
        scored += range(c * ctx + first + 1, (c + 1) * ctx)
    return nll / count, count, scored


def floor_by_token(tokenizer, text, ids):
    """Nats of the grammar's decisions per token of ids (begin-of-text at 0)."""
    starts, at = [], 0
    for token in tokenizer.convert_ids_to_tokens(ids[1:]):
        starts.append(at)
        at += len(token)  # the byte alphabet has one character per byte, and the text is ASCII
    nats = [0.0] * len(ids)
    for position, cost in grammar.floor_of(text):
        nats[bisect.bisect_right(starts, position)] += cost
    return nats


@torch.no_grad()
def answers(model, tokenizer, count, seed=910001):
    """Parts of the questions answered word for word, greedily, each asked alone."""
    rng = random.Random(seed)
    stop = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    asks = [(f, w) for f, w in grammar.ASKS if f is not grammar.ask_story]
    right, wrong = 0, []
    for _ in range(count):
        pen = grammar.Pen(rng)
        question, answer = pen.pick([f for f, _ in asks], [w for _, w in asks])(pen)
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False,
                                               add_generation_prompt=True)
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, temperature=None,
                             max_length=None, max_new_tokens=40, eos_token_id=stop, pad_token_id=stop)
        said = tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True)
        right += said == answer
        if said != answer:
            wrong.append((question, said))
    return right / count, wrong


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--model", required=True)
    args.add_argument("--text", required=True)
    args.add_argument("--ctx", type=int, nargs="+", default=[512, 256])
    args.add_argument("--dtype", nargs="+", default=["float32"])
    args.add_argument("--ask", type=int, default=0)
    args.add_argument("--threads", type=int, default=1, help="the model is small: more help only on an idle machine")
    opt = args.parse_args()

    torch.set_num_threads(opt.threads)
    with open(opt.text, encoding="utf-8", newline="") as f:
        text = f.read()
    result = {}
    for dtype in opt.dtype:
        model, tokenizer = load(opt.model, dtype)
        ids = tokenizer(text).input_ids
        nats = floor_by_token(tokenizer, text, ids)
        for ctx in opt.ctx:
            nll, count, scored = perplexity(model, ids, tokenizer.bos_token_id, ctx)
            floor = sum(nats[i] for i in scored) / count
            result[f"{dtype}/ctx{ctx}"] = {
                "perplexity": round(math.exp(nll), 6), "floor": round(math.exp(floor), 6),
                "above_floor_percent": round(100 * (math.exp(nll - floor) - 1), 3), "nll": round(nll, 6),
                "floor_nll": round(floor, 6), "scored_tokens": count}
        result["tokens"] = len(ids)
        result["floor_whole_text"] = round(math.exp(sum(nats) / (len(ids) - 1)), 6)
    if opt.ask:
        part, wrong = answers(model, tokenizer, opt.ask)
        result["answers"] = {"asked": opt.ask, "right": round(part, 4), "some_wrong": wrong[:8]}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
