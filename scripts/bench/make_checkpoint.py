#!/usr/bin/env python3
"""Writes a synthetic checkpoint of a published model's shape, for timing the converter.

    make_checkpoint.py DIR --shape large|8b|2b [--dtype f32|bf16] [--sparse] [--layers N] [--vocab N]

The numbers come from a seed: four million normal floats, of which every tensor takes a run that
begins elsewhere. With --sparse a bf16 file has its size but only a little content per tensor, so
that an 8B model takes megabytes of disk. Needs nothing but Python 3.
"""
import argparse
import array
import json
import os
import random
import struct
import sys

SHAPES = {
    # 1bitLLM/bitnet_b1_58-large
    "large": dict(arch="BitnetForCausalLM", model_type="llama", act="silu", hidden=1536, ffn=4096,
                  layers=24, heads=16, kv=16, vocab=32002, quantization=None,
                  sub=("self_attn.inner_attn_ln", "mlp.ffn_layernorm"), tied=True),
    # microsoft/bitnet-b1.58-2B-4T-bf16
    "2b": dict(arch="BitNetForCausalLM", model_type="bitnet", act="relu2", hidden=2560, ffn=6912,
               layers=30, heads=20, kv=5, vocab=128256, quantization="online",
               sub=("self_attn.attn_sub_norm", "mlp.ffn_sub_norm"), tied=True),
    # HF1BitLLM/Llama3-8B-1.58, as masters
    "8b": dict(arch="LlamaForCausalLM", model_type="llama", act="silu", hidden=4096, ffn=14336,
               layers=32, heads=32, kv=8, vocab=128256, quantization="online", sub=None, tied=False),
}


def tensors(s):
    d = s["hidden"] // s["heads"]
    q, kv = s["heads"] * d, s["kv"] * d
    yield "model.embed_tokens.weight", [s["vocab"], s["hidden"]]
    for n in range(s["layers"]):
        p = "model.layers.%d." % n
        yield p + "input_layernorm.weight", [s["hidden"]]
        yield p + "self_attn.q_proj.weight", [q, s["hidden"]]
        yield p + "self_attn.k_proj.weight", [kv, s["hidden"]]
        yield p + "self_attn.v_proj.weight", [kv, s["hidden"]]
        yield p + "self_attn.o_proj.weight", [s["hidden"], q]
        yield p + "post_attention_layernorm.weight", [s["hidden"]]
        yield p + "mlp.gate_proj.weight", [s["ffn"], s["hidden"]]
        yield p + "mlp.up_proj.weight", [s["ffn"], s["hidden"]]
        yield p + "mlp.down_proj.weight", [s["hidden"], s["ffn"]]
        if s["sub"]:
            yield p + s["sub"][0] + ".weight", [q]
            yield p + s["sub"][1] + ".weight", [s["ffn"]]
    yield "model.norm.weight", [s["hidden"]]
    if not s["tied"]:
        yield "lm_head.weight", [s["vocab"], s["hidden"]]


def config(s):
    c = {"architectures": [s["arch"]], "model_type": s["model_type"], "hidden_act": s["act"],
         "hidden_size": s["hidden"], "intermediate_size": s["ffn"],
         "num_hidden_layers": s["layers"], "num_attention_heads": s["heads"],
         "num_key_value_heads": s["kv"], "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
         "rope_theta": 10000.0, "vocab_size": s["vocab"], "tie_word_embeddings": s["tied"],
         "bos_token_id": 1, "eos_token_id": 2}
    if s["quantization"]:
        c["quantization_config"] = {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                    "quantization_mode": s["quantization"]}
    return c


def tokenizer():
    """A byte-level BPE without merges: GPT-2's alphabet and three special tokens."""
    own = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters, moved = [], 0
    for b in range(256):
        letters.append(chr(b) if b in own else chr(256 + moved))
        moved += b not in own
    special = ["<unk>", "<s>", "</s>"]
    vocab = {t: i for i, t in enumerate(special + letters)}
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i, t in enumerate(special)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}
    return {"version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": level,
            "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "vocab": vocab,
                      "merges": []}}


def block(dtype, n):
    rng = random.Random(1)
    floats = array.array("f", (rng.gauss(0, 0.02) for _ in range(n)))
    if dtype == "f32":
        return floats.tobytes()
    raw = floats.tobytes()
    return b"".join(raw[i + 2:i + 4] for i in range(0, len(raw), 4))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("dir")
    p.add_argument("--shape", choices=SHAPES, default="large")
    p.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    p.add_argument("--sparse", action="store_true")
    p.add_argument("--layers", type=int, help="instead of the model's")
    p.add_argument("--vocab", type=int, help="instead of the model's")
    a = p.parse_args()
    s, width = dict(SHAPES[a.shape]), 4 if a.dtype == "f32" else 2
    s["layers"], s["vocab"] = a.layers or s["layers"], a.vocab or s["vocab"]
    os.makedirs(a.dir, exist_ok=True)
    for name, text in (("config.json", config(s)), ("tokenizer.json", tokenizer())):
        with open(os.path.join(a.dir, name), "w") as f:
            json.dump(text, f)
    header, at = {}, 0
    for name, shape in tensors(s):
        n = width
        for d in shape:
            n *= d
        header[name] = {"dtype": a.dtype.upper(), "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = block(a.dtype, 1 << (16 if a.sparse else 22))
    data += data
    with open(os.path.join(a.dir, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        base = f.tell()
        for i, h in enumerate(header.values()):
            begin, end = h["data_offsets"]
            f.seek(base + begin)
            if a.sparse:
                f.write(data[:min(end - begin, 65536)])
                continue
            skip = (i * 7919 * width) % (len(data) // 2)
            left, half = end - begin, len(data) // 2
            while left:
                part = data[skip:skip + min(left, half)]
                f.write(part)
                left -= len(part)
        f.truncate(base + at)
    print("%s: %.2f GB" % (a.dir, at / 1e9))
    return 0


if __name__ == "__main__":
    sys.exit(main())
