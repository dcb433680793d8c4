"""For scripts/bench/tokenize.sh: the same texts with Hugging Face tokenizers or tiktoken, on one thread, in the
thread's own time; and `fill`, which puts Llama 3's vocabulary into its tokenizer.json skeleton.

    tokenize_others.py fill DATA OUT.json | hf TOKENIZER.json TEXT... | tiktoken DATA TEXT...
"""
import base64
import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROUNDS = 3


def ranks(data):
    with open(f"{data}/tiktoken/llama3-tokenizer.model", "rb") as file:
        return {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in file}


def letters():
    """GPT-2's byte alphabet."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in own]
    return {**{b: chr(b) for b in own}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def fill(data, out):
    alphabet, known = letters(), ranks(data)
    spell = lambda token: "".join(alphabet[b] for b in token)
    merges = []
    for token in known:
        splits = [(known[token[:i]], known[token[i:]], token[:i], token[i:])
                  for i in range(1, len(token)) if token[:i] in known and token[i:] in known]
        merges += [f"{spell(left)} {spell(right)}" for _, _, left, right in sorted(splits)]
    with open(f"{data}/hf/skeletons/llama3.json") as file:
        skeleton = json.load(file)
    skeleton["model"]["vocab"] = {spell(token): rank for token, rank in known.items()}
    skeleton["model"]["merges"] = merges
    with open(out, "w") as file:
        json.dump(skeleton, file)


def measure(name, encode, paths):
    for path in paths:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        best, n = 0.0, 0
        for _ in range(ROUNDS):
            begin = time.thread_time()
            n = len(encode(text))
            best = max(best, len(text.encode()) / (time.thread_time() - begin))
        print(f"{name}\t{path}\t{n}\t{best / 1e6:.2f}", flush=True)


if sys.argv[1] == "fill":
    fill(sys.argv[2], sys.argv[3])
elif sys.argv[1] == "hf":
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(sys.argv[2])
    measure("hf", lambda text: tokenizer.encode(text).ids, sys.argv[3:])
else:
    import tiktoken
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
               r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    encoding = tiktoken.Encoding("llama3", pat_str=pattern, mergeable_ranks=ranks(sys.argv[2]), special_tokens={})
    measure("tiktoken", encoding.encode_ordinary, sys.argv[3:])
