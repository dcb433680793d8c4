#!/usr/bin/env python3
"""Our sampler against llama.cpp's chain of samplers, on fixed logits.

    check_sampler.py LIBBITNET.so

llama.cpp's top-k, top-p, min-p and temperature are applied in that order (its own default order) to each distribution;
what is left, with its probabilities, is what our draws must come from: no other id ever, and frequencies within 4.5
standard deviations of a chi-square. Exit code 77 without xllamacpp.
"""
import ctypes
import math
import sys

try:
    import numpy as np
    import xllamacpp  # noqa: F401
except ImportError:
    print("SKIPPED: xllamacpp is not installed (scripts/oracle/venv.sh makes the environment)")
    sys.exit(77)
from llamacpp import library

DRAWS = 20000


class Options(ctypes.Structure):
    """struct bitnet_sampler_options"""
    _fields_ = [("temperature", ctypes.c_float), ("top_k", ctypes.c_uint32), ("top_p", ctypes.c_float),
                ("min_p", ctypes.c_float), ("repeat_penalty", ctypes.c_float), ("repeat_last", ctypes.c_uint32),
                ("seed", ctypes.c_uint64), ("biases", ctypes.c_void_p), ("n_biases", ctypes.c_size_t),
                ("repair", ctypes.c_bool)]


class Candidate(ctypes.Structure):
    """llama_token_data"""
    _fields_ = [("id", ctypes.c_int32), ("logit", ctypes.c_float), ("p", ctypes.c_float)]


class Candidates(ctypes.Structure):
    """llama_token_data_array"""
    _fields_ = [("data", ctypes.POINTER(Candidate)), ("size", ctypes.c_size_t), ("selected", ctypes.c_int64),
                ("sorted", ctypes.c_bool)]


def chain(lib, logits, top_k, top_p, min_p, temperature):
    """{id: probability} that llama.cpp's samplers leave."""
    data = (Candidate * len(logits))(*[Candidate(i, float(x), 0) for i, x in enumerate(logits)])
    array = Candidates(data, len(logits), -1, False)
    pointer = ctypes.c_void_p
    for name, arguments in (("top_k", [ctypes.c_int32(top_k)] if top_k else None),
                            ("top_p", [ctypes.c_float(top_p), ctypes.c_size_t(1)] if top_p < 1 else None),
                            ("min_p", [ctypes.c_float(min_p), ctypes.c_size_t(1)] if min_p else None),
                            ("temp", [ctypes.c_float(temperature)])):
        if arguments is None:
            continue
        make = getattr(lib, "llama_sampler_init_" + name)
        make.restype = pointer
        sampler = pointer(make(*arguments))
        lib.llama_sampler_apply(sampler, ctypes.byref(array))
        lib.llama_sampler_free(sampler)
    left = [(array.data[i].id, array.data[i].logit) for i in range(array.size)]
    top = max(x for _, x in left)
    weights = {i: math.exp(x - top) for i, x in left if x > -math.inf}
    return {i: w / sum(weights.values()) for i, w in weights.items()}


def draws(lib, logits, top_k, top_p, min_p, temperature):
    options = Options(temperature, top_k, top_p, min_p, 1, 64, 7, None, 0, False)
    sampler, token = ctypes.c_void_p(), ctypes.c_int32()
    values = (ctypes.c_float * len(logits))(*logits)
    assert lib.bitnet_sampler_new(ctypes.byref(sampler), ctypes.c_size_t(len(logits)), ctypes.byref(options), None) == 0
    counts = {}
    for _ in range(DRAWS):
        assert lib.bitnet_sample(sampler, values, ctypes.byref(token), None) == 0
        counts[token.value] = counts.get(token.value, 0) + 1
    lib.bitnet_sampler_free(sampler)
    return counts


def disagreement(counts, want):
    """None when the draws can come from `want`, else words."""
    strange = sorted(set(counts) - set(want))
    if strange:
        return "drew %s, which llama.cpp had dropped" % strange[:5]
    chi, cells, rest, rest_want = 0.0, 0, 0, 0.0
    for i, p in want.items():
        expected = p * DRAWS
        if expected < 8:
            rest, rest_want = rest + counts.get(i, 0), rest_want + expected
            continue
        chi, cells = chi + (counts.get(i, 0) - expected) ** 2 / expected, cells + 1
    if rest_want >= 1:
        chi, cells = chi + (rest - rest_want) ** 2 / rest_want, cells + 1
    freedom = cells - 1
    if freedom < 1:
        return None  # one id has everything
    return None if chi <= freedom + 4.5 * math.sqrt(2 * freedom) else "chi-square %.1f with %d degrees of freedom" % (chi, freedom)


def main():
    lib, theirs = ctypes.CDLL(sys.argv[1]), library()
    random = np.random.default_rng(3)
    distributions = {"flat": np.zeros(50), "mild": random.uniform(-3, 3, 200), "normal": random.normal(0, 3, 1000),
                     "geometric": -0.4 * np.arange(60), "peak": np.where(np.arange(300) == 17, 9, 0)}
    settings = [(0, 1, 0, 1), (5, 1, 0, 1), (0, .8, 0, 1), (0, 1, .1, 1), (0, 1, 0, .5), (40, .9, .05, .7),
                (50, .9, 0, .7), (3, .99, .2, 2), (0, .5, .01, 1.3)]
    n_failed = 0
    for name, logits in distributions.items():
        logits = logits.astype(np.float32) + random.permutation(len(logits)).astype(np.float32) * np.float32(1e-4)
        for s in settings:
            want = chain(theirs, logits, *s)
            wrong = disagreement(draws(lib, logits, *s), want)
            n_failed += wrong is not None
            if wrong:
                print("FAILED  %s, top-k %d, top-p %g, min-p %g, temperature %g: %s" % (name, *s, wrong))
        print("%-10s %d settings" % (name, len(settings)), flush=True)
    print("%d failed" % n_failed)
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
