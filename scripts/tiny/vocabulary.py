"""The tiny model's tokenizer: byte-level BPE learned from the grammar's own text, in the shape of Llama 3's.

The pre-tokenizer is the Llama 3 expression followed by the byte alphabet, merges are ignored for pieces that are whole
tokens, the special tokens follow the learned ones, and a begin-of-text token is put in front of every text. So a GGUF
file of this model says pre-tokenizer `llama-bpe` and means it.
"""
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import grammar

BOS, EOS, EOT = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"
SPECIALS = [BOS, EOS, EOT]
SIZE = 1024
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
CHAT_TEMPLATE = ("{% for message in messages %}"
                 "{{ message['role'] | capitalize + ': ' + message['content'] | trim + '<|eot_id|>' }}"
                 "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}")


def render(turns, reply=False):
    """What CHAT_TEMPLATE makes of a list of (role, content)."""
    text = "".join(f"{role.capitalize()}: {content.strip()}{EOT}" for role, content in turns)
    return text + ("Assistant: " if reply else "")


def sample(seed, count):
    """Text to learn the merges from: stories and conversations, three to one."""
    for text, _ in grammar.stories(seed, count):
        yield text + grammar.SEPARATOR
    rng = random.Random(seed + 1)
    for _ in range(count // 3):
        yield from (f"{role.capitalize()}: {content}" for role, content in grammar.dialogue(grammar.Pen(rng)))


def learn(seed=1, count=30000):
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=True, trim_offsets=True, use_regex=True)
    trainer = trainers.BpeTrainer(vocab_size=SIZE - len(SPECIALS), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(sample(seed, count), trainer)
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    assert tokenizer.get_vocab_size() == SIZE, tokenizer.get_vocab_size()
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(add_prefix_space=True, trim_offsets=False, use_regex=True),
        processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, bos)])])
    return tokenizer
