#!/usr/bin/env python3
"""Writes down transformers' logits for a checkpoint folder, in the form that logit-difference reads.

    record_logits.py CHECKPOINT OUT

Twenty-four fixed ids, all positions; the checkpoint's own dtypes are widened to float32, eager
evaluation on one thread.
"""
import json
import os
import sys

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

IDS = [1] + [(7 * i * i + 31 * i + 5) % 256 + 3 for i in range(23)]


@torch.no_grad()
def main():
    checkpoint, out = sys.argv[1], sys.argv[2]
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto", attn_implementation="eager")
    model = model.to(torch.float32).eval()
    logits = model(torch.tensor([IDS])).logits[0]
    top = logits.topk(2, -1)
    os.makedirs(out, exist_ok=True)
    logits.numpy().astype("<f4").tofile(os.path.join(out, "logits.f32"))
    with open(os.path.join(out, "excerpt.json"), "w") as f:
        json.dump({"ids": IDS, "logits_positions": list(range(len(IDS))),
                   "argmax": top.indices[:, 0].tolist(),
                   "lead": [float(a - b) for a, b in top.values]}, f)
    print("spread %.4f" % float(logits.std(-1).mean()))


if __name__ == "__main__":
    main()
