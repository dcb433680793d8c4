#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/gguf: small sound GGUF files that together use every feature of the format, as
seeds for tests/fuzz/fuzz_gguf.c. Plain Python; the bytes do not change from run to run.

    scripts/golden/make_gguf_corpus.py [FOLDER]
"""
import pathlib
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
SIZES = {0: (1, 4), 1: (1, 2), 8: (32, 34), 35: (256, 66), 39: (32, 17)}


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, v):
    if kind == STRING:
        return text(v)
    if kind == ARRAY:
        element, items = v
        return struct.pack("<IQ", element, len(items)) + b"".join(value(element, i) for i in items)
    return struct.pack("<" + FORMATS[kind], v)


def pad(raw, alignment):
    return raw + bytes(-len(raw) % alignment)


def gguf(keys, tensors, version=3, alignment=32, tail=0):
    """keys: (name, type, value); tensors: (name, dims, type number[, bytes])."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for name, kind, v in keys:
        head += text(name) + struct.pack("<I", kind) + value(kind, v)
    data = b""
    for name, dims, number, *size in tensors:
        head += text(name) + struct.pack("<I", len(dims))
        head += b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", number, len(data))
        n = 1
        for d in dims:
            n *= d
        n_bytes = size[0] if size else n // SIZES[number][0] * SIZES[number][1]
        data = pad(data + bytes((i * 37 + 11) & 0x3F for i in range(n_bytes)), alignment)
    return pad(head, alignment) + data + bytes(tail)


def vocabulary(kind, n):
    tokens = ["<unk>", "<s>", "</s>", "<0x0A>"] + ["w%d" % i for i in range(n - 4)]
    types = [2, 3, 3, 6] + [1] * (n - 4)
    keys = [("tokenizer.ggml.model", STRING, kind), ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
            ("tokenizer.ggml.token_type", ARRAY, (I32, types)), ("tokenizer.ggml.bos_token_id", U32, 1),
            ("tokenizer.ggml.eos_token_id", U32, 2), ("tokenizer.ggml.add_bos_token", BOOL, 1),
            ("tokenizer.chat_template", STRING, "{{ messages }}")]
    if kind == "llama":
        keys.append(("tokenizer.ggml.scores", ARRAY, (F32, [-float(i) for i in range(n)])))
    else:
        keys += [("tokenizer.ggml.pre", STRING, "llama-bpe"), ("tokenizer.ggml.merges", ARRAY, (STRING, ["w 1", "w1 2"]))]
    return keys


def model(arch, kind, linear=1, width=8, size=None):
    n = 12
    keys = [("general.architecture", STRING, arch), ("general.file_type", U32, 1), (arch + ".block_count", U32, 1),
            (arch + ".context_length", U32, 64), (arch + ".embedding_length", U32, width),
            (arch + ".feed_forward_length", U32, 2 * width), (arch + ".attention.head_count", U32, 2),
            (arch + ".attention.head_count_kv", U32, 1), (arch + ".attention.layer_norm_rms_epsilon", F32, 1e-5),
            (arch + ".rope.freq_base", F32, 1e4), (arch + ".rope.scaling.type", STRING, "linear")]
    half = width // 2
    shapes = [("attn_norm", (width,)), ("attn_q", (width, width)), ("attn_k", (width, half)), ("attn_v", (width, half)),
              ("attn_output", (width, width)), ("ffn_norm", (width,)), ("ffn_gate", (width, 2 * width)),
              ("ffn_up", (width, 2 * width)), ("ffn_down", (2 * width, width))]
    if arch != "llama":
        shapes += [("attn_sub_norm", (width,)), ("ffn_sub_norm", (2 * width,))]
    tensors = [("token_embd.weight", (width, n), 1)]
    for name, dims in shapes:
        row = ("blk.0.%s.weight" % name, dims, 0 if len(dims) == 1 else linear)
        tensors.append(row + (size(dims),) if size and len(dims) > 1 else row)
    return keys + vocabulary(kind, n), tensors + [("output_norm.weight", (width,), 0)]


def i2_s(dims):
    return dims[0] * dims[1] // 4 + 32


SCALARS = [("u8", U8, 200), ("i8", I8, -7), ("u16", U16, 65000), ("i16", I16, -30000), ("u32", U32, 4000000000),
           ("i32", I32, -2000000000), ("f32", F32, 0.1), ("yes", BOOL, 1), ("text", STRING, "grüß"), ("u64", U64, 2**64 - 1),
           ("i64", I64, -2**62), ("f64", F64, 1 / 3)]
ARRAYS = [("a.%d" % kind, ARRAY, (kind, [0, 1])) for kind in FORMATS] + [
    ("a.text", ARRAY, (STRING, ["", "a", b"\xff\x00"])), ("a.none", ARRAY, (STRING, [])),
    ("a.nested", ARRAY, (ARRAY, [(ARRAY, [(U8, [1, 2]), (STRING, ["x"])]), (U16, [])]))]

FILES = {
    "empty.gguf": gguf([], []),
    "scalars.gguf": gguf(SCALARS, []),
    "arrays.gguf": gguf(ARRAYS, []),
    "version_2.gguf": gguf(SCALARS[:3], [("t", (3, 5), 0)], version=2),
    "aligned_64.gguf": gguf([("general.alignment", U32, 64)], [("a", (5, 3), 0), ("b", (7,), 1), ("c", (32, 2), 8)], alignment=64),
    "tail.gguf": gguf([], [("t", (2, 2, 2, 2), 0)], tail=40),
    "part.gguf": gguf([("split.no", U16, 0), ("split.count", U16, 2), ("split.tensors.count", I32, 2)], [("t", (2,), 0)]),
    "mxfp4.gguf": gguf([], [("t", (64, 4), 39)]),
    "tl2.gguf": gguf([("general.architecture", STRING, "bitnet"), ("general.file_type", U32, 39)],
                     [("t", (256, 32), 39, 4096 // 8 * 4 + 32), ("u", (4,), 0)]),
    "llama.gguf": gguf(*model("llama", "llama")),
    "llama_bpe.gguf": gguf(*model("llama", "gpt2")),
    "bitnet.gguf": gguf(*model("bitnet", "llama")),
    "b158_i2_s.gguf": gguf(*model("bitnet-b1.58", "gpt2", 36, 16, i2_s)),
}

if __name__ == "__main__":
    here = pathlib.Path(__file__).resolve().parents[2]
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "tests/fuzz/corpus/gguf"
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in FILES.items():
        (folder / name).write_bytes(raw)
