#!/usr/bin/env python3
"""Reads a build log with ptxas's numbers and prints registers, shared memory and spills of every kernel,
one line for each, chips side by side. Exits with 1 when a kernel spills: then its tile is too large.

    scripts/cuda_report.py build.log
"""
import re
import subprocess
import sys


def kernels(lines):
    """Yields (mangled name, chip, registers, shared bytes, spilled bytes)."""
    name = chip = None
    spilled = 0
    for line in lines:
        if match := re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line):
            name, chip = match.groups()
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(match[1]) + int(match[2])
        elif name and (match := re.search(r"Used (\d+) registers", line)):
            shared = re.search(r"(\d+) bytes smem", line)
            yield name, chip, int(match[1]), int(shared[1]) if shared else 0, spilled
            name = None


def readable(names):
    try:
        text = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True)
        return dict(zip(names, (n.replace("void ", "") for n in text.stdout.split("\n"))))
    except OSError:
        return {n: n for n in names}


def main():
    with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
        rows = list(kernels(log))
    if not rows:
        sys.exit("no kernel in this log: was it built with BITNET_CUDA_VERBOSE?")
    names = readable(sorted({row[0] for row in rows}))
    by_kernel = {}
    for name, chip, registers, shared, spilled in rows:
        by_kernel.setdefault(names[name], []).append((chip, registers, shared, spilled))
    n_spilled = 0
    for kernel, chips in sorted(by_kernel.items()):
        cells = []
        for chip, registers, _, spilled in sorted(chips):
            n_spilled += spilled > 0
            cells.append(f"{chip} {registers}" + (f" ({spilled} B SPILLED)" if spilled else ""))
        print(f"{kernel}: {chips[0][2]} B shared; registers: " + ", ".join(cells))
    if n_spilled:
        sys.exit(f"{n_spilled} kernels spill registers")
    print(f"{len(by_kernel)} kernels, no spills")


main()
