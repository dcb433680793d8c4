#!/usr/bin/env python3
"""Writes tests/golden/tokenizers/: small vocabularies of our own, and the ids that Hugging Face tokenizers gives for
texts that catch tokenizers out, so that the plain test suite proves something without the shared data.

    scripts/oracle/venv.sh && /path/to/venv/bin/python scripts/golden/make_tokenizers.py tests/golden/tokenizers

Each vocabulary is trained on the generated text below (no outside text), in the structure of a family: Llama 3, GPT-2,
Qwen 2, StarCoder, Llama 2. For each: NAME.json, the tokenizer; NAME.tsv, lines of
hex of the text <TAB> ids with special tokens <TAB> hex of the decoded text, special tokens skipped.
"""
import os
import random
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

TEXTS = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", " \n", "\r\n", "\r\n\r\n", "a", " a", "  a", "a ", "a  ", "Hello world",
    "Hello  world", " Hello", "hello\nworld", "hello \n world", "x\n\n\ny", "\u00a0", "a\u00a0b", "\u3000a", "\u2028a",
    "\u0085x", "I'm you're he'S WE'LL they'd've", "don't DON'T 'tis 'Twas", "it\u2019s", "'\u017f", "''s", "1", "12", "123",
    "1234", "1234567890", "3.14", " 42", "x1y22z333", "\u0663\u0664", "\u00bd", "\u2162", "\uff11\uff12", "!?", "...",
    " ...", "--", "a-b_c", "(x)", "\"q\"", "$5 + <b> = ^~|`", "http://example.com/a?b=c&d", "def f(x):\n    return x*2\n",
    "caf\u00e9", "cafe\u0301", "\u212b", "na\u00efve", "\u65e5\u672c\u8a9e", "\u6211\u60f3", "\ud55c\uad6d\uc5b4",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439", "\u0627\u0644\u0639", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e44\u0e17\u0e22", "\U0001f600", "\U0001f469\u200d\U0001f680", "\U0001f1e9\U0001f1ea",
    "\ufeffx", "\u200b", "\x00", "a\x00b", "\x1b[0m", "\x7f", "\ue000", "\U0010ffff", "\u0120the", "\u2581the", "<0x41>",
    "<|begin_of_text|>", "a<|eot_id|>b", "<|eot_id|><|eot_id|>", " <|eot_id|> ", "<|eot_id", "<|EOT_ID|>", "<s>", "x<s>y",
    "x <s> y", "</s>", "<unk>", "a" * 100, " " * 100, "\n" * 50, "1" * 50, "-" * 50, "ab " * 50, "\u00e9" * 40, "\U0001f600" * 20,
]


def corpus(n=4000, seed=7):
    """Sentences from a small grammar, numbers, code, and a few accented words."""
    rng = random.Random(seed)
    who = "Anna Ben Clara the\u2009dog a\u2009cat my\u2009friend she he they we".replace("\u2009", "_").split()
    does = "sees likes takes finds gives makes wants knows hears loves".split()
    what = "apples bread water stories numbers houses books caf\u00e9s fa\u00e7ades stones".split()
    for _ in range(n):
        s = f"{rng.choice(who).replace('_', ' ')} {rng.choice(does)} {rng.randrange(1000)} {rng.choice(what)}"
        yield rng.choice([s + ".", s + "!\n", f'"{s}?" he said.', f"    {s.split()[0]} = f({rng.randrange(99)})\n", s.upper()])


def train(tokenizer, size, special, alphabet=True):
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else []))
    return tokenizer


def byte_level(split, size=420, ignore_merges=False, normalizer=None, bos=None):
    special = [AddedToken(t, special=True, normalized=False) for t in ("<|begin_of_text|>", "<|eot_id|>")]
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = split
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, size, special)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    return tokenizer


def split_then_bytes(regex):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated", False),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def llama2():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    special = [AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")]
    # Trained word by word, so that no token holds a space in its middle; the finished one has no pre-tokenizer.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next", False)
    train(tokenizer, 500, special + [f"<0x{b:02X}>" for b in range(256)], alphabet=False)
    tokenizer.pre_tokenizer = None
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return strip_byte_specials(tokenizer)


def strip_byte_specials(tokenizer):
    """The trainer lists the byte tokens among the added tokens; Llama 2 has them in the vocabulary only."""
    import json
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    del data["pre_tokenizer"]
    return Tokenizer.from_str(json.dumps(data))


def main():
    folder = sys.argv[1]
    made = {
        "llama3": byte_level(split_then_bytes(LLAMA3), ignore_merges=True, bos="<|begin_of_text|>"),
        "qwen2": byte_level(split_then_bytes(QWEN2), normalizer=normalizers.NFC()),
        "gpt2": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)),
        "starcoder": byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                         pre_tokenizers.ByteLevel(add_prefix_space=False)])),
        "llama2": llama2(),
    }
    for name, tokenizer in made.items():
        tokenizer.save(os.path.join(folder, f"{name}.json"), pretty=False)
        with open(os.path.join(folder, f"{name}.tsv"), "w") as out:
            out.write(f"# Hugging Face tokenizers {tokenizers.__version__}, scripts/golden/make_tokenizers.py\n")
            for text in TEXTS:
                ids = tokenizer.encode(text).ids
                out.write("\t".join([text.encode().hex(), " ".join(map(str, ids)),
                                     tokenizer.decode(ids).encode().hex()]) + "\n")


main()
