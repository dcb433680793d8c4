#!/usr/bin/env python3
"""Writes tests/golden/kernels/ggml_types.json: random blocks of ggml's types and the numbers that
the gguf Python package (ggml-org, MIT) decodes them to.

    /path/to/venv/bin/python scripts/golden/make_ggml_types.py > tests/golden/kernels/ggml_types.json

Bytes and floats (little-endian) are hexadecimal. Scales are small positive binary16 numbers, all
other bytes are random from a seed.
"""
import json

import gguf
import numpy as np

# type -> offsets of the binary16 numbers in a block
TYPES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "TQ1_0": [52], "TQ2_0": [64], "IQ2_S": [0],
}
random = np.random.default_rng(20261122)
result = {"gguf": gguf.__dict__.get("__version__", "0.19.0"), "types": []}
for name, scales in TYPES.items():
    kind = gguf.GGMLQuantizationType[name]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    n_blocks = 512 // block
    data = random.integers(0, 256, (n_blocks, size), dtype=np.uint8)
    for at in scales:
        values = random.uniform(0.001, 1.0, n_blocks).astype(np.float16)
        data[:, at : at + 2] = values.view(np.uint8).reshape(n_blocks, 2)
    numbers = gguf.quants.dequantize(data.reshape(1, -1), kind).astype("<f4")
    result["types"].append(
        {"name": name, "bytes": data.tobytes().hex(), "floats": numbers.tobytes().hex()}
    )
print(json.dumps(result, indent=0))
