#!/usr/bin/env python3
"""Writes kernels/quant/iq2_s_grid.inc from the codes of the IQ2_S grid.

The grid is a trained table (formats.md 4.2), so it can only be carried over. Its source is
ggml's ggml-common.h, extracted as tables/iq2s_grid_codes.u16 of the golden data: 1024 codes,
ascending, coordinate j in bits 2j..2j+1.

    make_iq2_s_grid.py CODES.u16 > kernels/quant/iq2_s_grid.inc
"""
import struct
import sys

data = open(sys.argv[1], "rb").read()
codes = struct.unpack("<1024H", data)
assert list(codes) == sorted(set(codes)), "the codes are not strictly ascending"
assert all((c & (c >> 1) & 0x5555) == 0 for c in codes), "a coordinate is 3"
print("/* Made by scripts/golden/make_iq2_s_grid.py: the 1024 points of the IQ2_S grid, ascending,")
print(" * coordinate j (0, 1, 2) in bits 2j..2j+1. */")
for i in range(0, 1024, 12):
    print("    " + " ".join("%5d," % c for c in codes[i : i + 12]))
