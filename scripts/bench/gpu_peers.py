#!/usr/bin/env python3
"""torch's matrix products on the shapes that cuda_products measures, in bf16 and int8, on the same device. Called by
gpu.sh; a table in Markdown. As there, the weights are more than the second-level cache holds."""
import torch

SHAPES = [(2560, 2560), (13824, 2560), (2560, 6912), (28672, 4096), (4096, 14336), (46080, 3072), (3072, 23040)]
BATCHES = [1, 16, 512, 2048]
CACHE = 256 << 20  # bytes of weights in turn


def seconds(run, n):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for i in range(n):
            run(i)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(n):
            run(i)
    best = float("inf")
    for _ in range(7):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        best = min(best, begin.elapsed_time(end) / 1e3 / n)
    return best


def measure(name, rows, cols, tokens, weights, run):
    s = seconds(lambda i: run(weights[i % len(weights)]), len(weights))
    size = weights[0].numel() * weights[0].element_size()
    print(f"| {name} | {rows} x {cols} | {tokens} | {s * 1e6:.2f} | {size / s / 1e9:.0f} "
          f"| {2 * rows * cols * tokens / s / 1e12:.1f} |")


def main():
    print(f"torch {torch.__version__} on {torch.cuda.get_device_name(0)}\n")
    print("| product | rows x columns | tokens | us | GB/s of weights | TOPS |\n|---|---|---:|---:|---:|---:|")
    for rows, cols in SHAPES:
        for tokens in BATCHES:
            n = max(2, CACHE // (2 * rows * cols))
            weights = [torch.randn(cols, rows, device="cuda", dtype=torch.bfloat16) for _ in range(n)]
            x = torch.randn(tokens, cols, device="cuda", dtype=torch.bfloat16)
            measure("torch bf16", rows, cols, tokens, weights, lambda w: x @ w)
            if tokens > 16:  # torch._int_mm wants more than 16 rows
                weights = [torch.randint(-1, 2, (rows, cols), device="cuda", dtype=torch.int8).t() for _ in range(n)]
                q = torch.randint(-127, 128, (tokens, cols), device="cuda", dtype=torch.int8)
                measure("torch int8", rows, cols, tokens, weights, lambda w: torch._int_mm(q, w))


main()
