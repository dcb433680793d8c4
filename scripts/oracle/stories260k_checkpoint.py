#!/usr/bin/env python3
"""stories260K.bin + tok512.bin -> a Hugging Face checkpoint folder. Python's standard library only.

    stories260k_checkpoint.py SHARED/data/stories260K OUT_DIR

The model was published in llama2.c's own format (INDEX.md in the data folder describes it: seven
int32, then f32 tensors in a fixed order, rotated by neighbouring pairs). A LlamaForCausalLM
checkpoint rotates by halves, so the rows of q and k go from [head][i][half] to [head][half][i]: the
inverse of what a converter to GGUF does. The vocabulary becomes a tokenizer.json as transformers
writes it for a Llama-2 tokenizer: BPE with byte fallback, merges in the order of the scores.
"""
import array
import json
import os
import struct
import sys


def read_model(path):
    with open(path, "rb") as f:
        dim, hidden, layers, heads, kv_heads, vocab, seq = struct.unpack("<7i", f.read(28))
        assert vocab > 0, "negative: the output matrix is not shared"
        kv = dim // heads * kv_heads

        def take(count):
            a = array.array("f")
            a.frombytes(f.read(4 * count))
            assert len(a) == count
            if sys.byteorder == "big":
                a.byteswap()
            return a

        order = [("embed", 1, vocab, dim), ("attn_norm", layers, dim, 1), ("q", layers, dim, dim),
                 ("k", layers, kv, dim), ("v", layers, kv, dim), ("o", layers, dim, dim),
                 ("ffn_norm", layers, dim, 1), ("gate", layers, hidden, dim),
                 ("down", layers, dim, hidden), ("up", layers, hidden, dim), ("norm", 1, dim, 1)]
        t = {name: [take(rows * cols) for _ in range(n)] for name, n, rows, cols in order}
    return dict(dim=dim, hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads, vocab=vocab,
                seq=seq), t


def halves(rows, heads, cols):
    """[head][i][half] -> [head][half][i]"""
    d = len(rows) // cols // heads
    out = array.array("f")
    for h in range(heads):
        for half in range(2):
            for i in range(d // 2):
                r = h * d + 2 * i + half
                out.extend(rows[r * cols:(r + 1) * cols])
    return out


def checkpoint_tensors(m, t):
    dim, hidden, kv = m["dim"], m["hidden"], m["dim"] // m["heads"] * m["kv_heads"]
    yield "model.embed_tokens.weight", [m["vocab"], dim], t["embed"][0]
    for n in range(m["layers"]):
        p = "model.layers.%d." % n
        yield p + "input_layernorm.weight", [dim], t["attn_norm"][n]
        yield p + "self_attn.q_proj.weight", [dim, dim], halves(t["q"][n], m["heads"], dim)
        yield p + "self_attn.k_proj.weight", [kv, dim], halves(t["k"][n], m["kv_heads"], dim)
        yield p + "self_attn.v_proj.weight", [kv, dim], t["v"][n]
        yield p + "self_attn.o_proj.weight", [dim, dim], t["o"][n]
        yield p + "post_attention_layernorm.weight", [dim], t["ffn_norm"][n]
        yield p + "mlp.gate_proj.weight", [hidden, dim], t["gate"][n]
        yield p + "mlp.up_proj.weight", [hidden, dim], t["up"][n]
        yield p + "mlp.down_proj.weight", [dim, hidden], t["down"][n]
    yield "model.norm.weight", [dim], t["norm"][0]


def write_safetensors(path, tensors):
    header, data, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, shape, values in tensors:
        if sys.byteorder == "big":
            values = values[:]
            values.byteswap()
        raw = values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def read_vocabulary(path, n):
    """[(piece, score)], spelt as SentencePiece has them."""
    with open(path, "rb") as f:
        f.read(4)
        pieces = []
        for i in range(n):
            score, length = struct.unpack("<fi", f.read(8))
            text = f.read(length).decode("utf-8")
            text = {0: "<unk>", 1: "<s>", 2: "</s>"}.get(i, text)
            if i > 258 or i < 3:
                text = text.replace(" ", "\u2581")
            pieces.append((text, score))
    return pieces


def merges(pieces):
    """As transformers' converter: every pair of pieces that makes a piece, best score first, and
    within one piece by the ids of its parts."""
    ids = {p: i for i, (p, _) in enumerate(pieces)}
    found = []
    for piece, score in pieces:
        local = []
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in ids and right in ids:
                local.append((left, right, score))
        local.sort(key=lambda m: (ids[m[0]], ids[m[1]]))
        found.extend(local)
    found.sort(key=lambda m: m[2], reverse=True)
    return [[a, b] for a, b, _ in found]


def tokenizer(pieces):
    special = [{"id": i, "content": pieces[i][0], "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False, "special": True} for i in range(3)]
    template = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = template + [{"SpecialToken": {"id": "<s>", "type_id": 1}},
                       {"Sequence": {"id": "B", "type_id": 1}}]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing", "single": template, "pair": pair,
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                  "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
                  "byte_fallback": True, "vocab": {p: i for i, (p, _) in enumerate(pieces)},
                  "merges": merges(pieces)}}


def main():
    source, out = sys.argv[1], sys.argv[2]
    m, t = read_model(os.path.join(source, "stories260K.bin"))
    os.makedirs(out, exist_ok=True)
    write_safetensors(os.path.join(out, "model.safetensors"), checkpoint_tensors(m, t))
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
              "hidden_size": m["dim"], "intermediate_size": m["hidden"],
              "num_hidden_layers": m["layers"], "num_attention_heads": m["heads"],
              "num_key_value_heads": m["kv_heads"], "max_position_embeddings": m["seq"],
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None,
              "vocab_size": m["vocab"], "tie_word_embeddings": True, "bos_token_id": 1,
              "eos_token_id": 2, "torch_dtype": "float32"}
    config_tokens = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>",
                     "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": False,
                     "legacy": True}
    pieces = read_vocabulary(os.path.join(source, "tok512.bin"), m["vocab"])
    for name, value in (("config.json", config), ("tokenizer_config.json", config_tokens),
                        ("tokenizer.json", tokenizer(pieces))):
        with open(os.path.join(out, name), "w", encoding="utf-8") as f:
            json.dump(value, f, ensure_ascii=False)


if __name__ == "__main__":
    main()
