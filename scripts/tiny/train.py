#!/usr/bin/env python3
"""Trains the tiny model from the grammar and leaves masters, tokenizer and shape in a directory for export.py.

    python3 train.py --minutes 45 --out DIR         as long as the clock says
    python3 train.py --steps 4000 --out DIR         the same weights every time on the same machine and thread count
    python3 train.py --from DIR --rate 0.0015 ...   further, from the masters of an earlier run, on texts not yet seen

Data is written while training: most of it consecutive stories cut at any place, as a perplexity tool cuts them, the
rest documents of their own (conversations and single stories). Nothing is seen twice. Sequences are short first, because
attention costs less there, and of full length for the last part. The learning rate rises, stays, and falls linearly to
zero; weight decay stops half-way, as in the b1.58 recipe.

On a CPU with AMX or AVX-512 bf16 most of the time goes into element-wise steps and attention, not into products, so
--compile (which needs a C++ compiler) gives about twice the tokens per second. Let the machine alone
meanwhile: the threads meet hundreds of times a step, so a core shared with another program costs far more than its half.
"""
import argparse
import ctypes
import json
import os
import random
import time

import numpy as np
import torch
from tokenizers import Tokenizer

import grammar
import vocabulary
from model import BitNet, Shape

LENGTH, SHORT = 512, 256
FIRST_SEED = 1000  # counts up by two for every pool; the held-out text's seed lies far above


def keep_memory():
    """Tells glibc to keep freed memory: otherwise every large tensor is mapped and zeroed anew by the kernel, which
    costs a fifth of the time."""
    trim_threshold, mmap_max = -1, -4
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
    except (OSError, AttributeError):
        pass  # another C library: only slower


class Data:
    """Endless pairs of ids and targets, made in pools of a few thousand sequences."""

    def __init__(self, tokenizer, seed, talks):
        self.tokenizer, self.seed, self.talks = tokenizer, seed, talks
        self.bos, self.eos = (tokenizer.token_to_id(s) for s in (vocabulary.BOS, vocabulary.EOS))
        self.length, self.pool = LENGTH, []

    def encode(self, texts):
        return [e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def running(self, count):
        """Stories one after another, cut every so many tokens; the first token of each piece becomes begin-of-text."""
        texts = [text + grammar.SEPARATOR for text, _ in grammar.stories(self.seed, count)]
        ids = np.concatenate([np.array(i, np.int64) for i in self.encode(texts)])
        n = (len(ids) - 1) // self.length
        rows = np.stack([ids[i * self.length:(i + 1) * self.length + 1] for i in range(n)])
        targets = rows[:, 1:].copy()
        targets[:, :4] = -100  # what follows a torn beginning is not worth learning
        rows = rows[:, :-1].copy()
        rows[:, 0] = self.bos
        return list(zip(rows, targets))

    def documents(self, count):
        """Conversations, tokenized as an engine meets them: the last answer follows a prompt tokenized by itself."""
        rng = random.Random(self.seed + 1)
        pieces, owners = [], []
        for d in range(count):
            if rng.random() < 0.25:
                pen = grammar.Pen(rng)
                grammar.story(pen)
                parts = [pen.text()]
            else:
                turns, parts, begin = grammar.dialogue(grammar.Pen(rng)), [], 0
                for i, (role, content) in enumerate(turns):
                    if role == "assistant" and (i == len(turns) - 1 or rng.random() < 0.5):
                        parts += [vocabulary.render(turns[begin:i], reply=True), content + vocabulary.EOT]
                        begin = i + 1
            pieces += parts
            owners += [d] * len(parts)
        documents = [[self.bos] for _ in range(count)]
        for owner, ids in zip(owners, self.encode(pieces)):
            documents[owner] += ids
        rows, row = [], []
        for document in documents:
            row += document + [self.eos]
            if len(row) > self.length:
                rows.append(np.array(row[:self.length + 1], np.int64))
                row = []
        return [(r[:-1], r[1:]) for r in rows]

    def refill(self):
        running = self.running(12000)
        documents = self.documents(self.talks)
        self.pool = running + documents
        random.Random(self.seed).shuffle(self.pool)
        self.seed += 2

    def batch(self, tokens, length):
        if length != self.length:
            self.length, self.pool = length, []
        size = tokens // length
        while len(self.pool) < size:
            self.refill()
        rows, self.pool = self.pool[:size], self.pool[size:]
        return tuple(torch.from_numpy(np.stack(side)) for side in zip(*rows))


def schedule(done, warmup=0.02, hold=0.3):
    """Learning rate as a part of its peak, from the part of the work that is done."""
    if done < warmup:
        return done / warmup
    return min(1.0, max(0.0, (1 - done) / (1 - hold)))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", required=True)
    args.add_argument("--minutes", type=float, default=0)
    args.add_argument("--steps", type=int, default=0)
    args.add_argument("--batch", type=int, default=4096, help="tokens per step")
    args.add_argument("--rate", type=float, default=3e-3)
    args.add_argument("--decay", type=float, default=0.1)
    args.add_argument("--short", type=float, default=0.6, help="part of the work done on short sequences")
    args.add_argument("--talks", type=int, default=5000, help="documents for every 12000 consecutive stories")
    args.add_argument("--from", dest="before", metavar="DIR", help="an earlier run's --out")
    args.add_argument("--layers", type=int, default=4)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--compile", action="store_true")
    opt = args.parse_args()
    if bool(opt.minutes) == bool(opt.steps):
        args.error("either --minutes or --steps")

    keep_memory()
    torch.manual_seed(opt.seed)
    torch.set_num_threads(opt.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    os.makedirs(opt.out, exist_ok=True)
    before, seed = {}, FIRST_SEED
    if opt.before:
        tokenizer = Tokenizer.from_file(os.path.join(opt.before, "tokenizer.json"))
        with open(os.path.join(opt.before, "training.json"), encoding="utf-8") as f:
            before = json.load(f)
        seed = before.get("next_seed", FIRST_SEED + 10000)
    else:
        tokenizer = vocabulary.learn()
    tokenizer.save(os.path.join(opt.out, "tokenizer.json"))
    data = Data(tokenizer, seed, opt.talks)
    shape = Shape(vocab_size=tokenizer.get_vocab_size(), num_hidden_layers=opt.layers, max_position_embeddings=LENGTH)
    model = BitNet(shape).to(device)
    if opt.before:
        model.load_state_dict(torch.load(os.path.join(opt.before, "masters.pt"), map_location=device, weights_only=True))
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.dim() != 2 or "embed" in n]
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": others, "weight_decay": 0.0}], lr=opt.rate,
                                  betas=(0.9, 0.95), weight_decay=opt.decay, fused=True)
    forward = torch.compile(model, dynamic=False) if opt.compile else model

    def save():
        torch.save(model.state_dict(), os.path.join(opt.out, "masters.pt"))
        with open(os.path.join(opt.out, "training.json"), "w", encoding="utf-8") as f:
            json.dump({"shape": shape.dict(), "steps": step, "tokens": step * opt.batch, "batch": opt.batch,
                       "rate": opt.rate, "decay": opt.decay, "short": opt.short, "seed": opt.seed,
                       "seconds": round(time.time() - start, 1), "loss": sum(losses[-200:]) / len(losses[-200:]),
                       "device": device, "threads": opt.threads, "torch": torch.__version__, "talks": opt.talks,
                       "next_seed": data.seed, "before": before}, f, indent=2)

    start, step, losses = time.time(), 0, []
    shown = saved = start
    while True:
        done = step / opt.steps if opt.steps else (time.time() - start) / (60 * opt.minutes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = opt.rate * schedule(done)
        optimizer.param_groups[0]["weight_decay"] = opt.decay if done < 0.5 else 0.0
        ids, targets = data.batch(opt.batch, SHORT if done < opt.short else LENGTH)
        loss = forward(ids.to(device), targets.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        losses.append(loss.item())
        now = time.time()
        if now - shown > 20:
            shown = now
            print(f"{now - start:7.1f} s  step {step:6d}  {step * opt.batch / 1e6:8.3f} M tokens  "
                  f"loss {sum(losses[-50:]) / len(losses[-50:]):.4f}", flush=True)
        if now - saved > 300:
            saved = now
            save()
    save()


if __name__ == "__main__":
    main()
