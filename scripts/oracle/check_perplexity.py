#!/usr/bin/env python3
"""Perplexity and divergence as llama.cpp has them: its own logits, its file of a base's predictions, its formulas.

    check_perplexity.py BITNET

The base is stories260K of ../shared/data (F32, and F16 made from it by our quantizer), the other model is the same with
noise on its weights, the text is that of models/tiny. llama.cpp evaluates it in chunks as llama-perplexity does; numpy
does the rest by the formulas of tools/perplexity/perplexity.cpp, in float where that is float. Then:

  perplexity    of the same F32 and F16 files: ours within 0.05 % of llama.cpp's
  stored files  what we store of the base and what llama.cpp's logits give: the same tokens, the same logarithms
  formulas      each statistic that we tell, with either file as the base, against numpy on the logits we used
  whole chain   the same statistics from llama.cpp's logits of both models

Exit code 77 without xllamacpp or the model.
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
    import xllamacpp  # noqa: F401
except ImportError:
    print("SKIPPED: xllamacpp is not installed (scripts/oracle/venv.sh makes the environment)")
    sys.exit(77)
from llamacpp import Llama

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODEL = os.path.join(ROOT, "..", "shared", "data", "stories260K", "stories260K-f32.gguf")
CHUNK, N_CHUNKS = 128, 8
SHARES = (0, .001, .01, .05, .1, .25, .5, .75, .9, .95, .99, .999, 1)
f32 = np.float32


def read_with_llamacpp(path, text):
    """(ids [chunks][CHUNK], logits [chunks][scored][n_vocab]) as llama-perplexity computes them."""
    llama = Llama(path, n_ctx=CHUNK, n_batch=CHUNK)
    ids = np.array(llama.tokenize(text)[:CHUNK * N_CHUNKS], np.int32).reshape(N_CHUNKS, CHUNK)
    first, found = CHUNK // 2, []
    for chunk in ids:
        chunk = [int(i) for i in chunk]
        if llama.bos is not None:
            chunk[0] = llama.bos
        llama.clear()
        found.append(llama.eval(chunk, first)[:-1])
    llama.close()
    return ids, np.array(found)


def log_softmax(rows):
    top = rows.max(-1, keepdims=True)
    return rows.astype(float) - top - np.log(np.exp((rows - top).astype(float)).sum(-1, keepdims=True))


def nats_of(logs, ids):
    nexts = ids[:, CHUNK // 2 + 1:]
    return -np.take_along_axis(logs, nexts[..., None], -1)[..., 0]


def store(path, ids, logits):
    """The file that llama-perplexity --kl-divergence-base writes."""
    n_vocab = logits.shape[-1]
    with open(path, "wb") as f:
        f.write(b"_logits_" + struct.pack("<Iii", CHUNK, n_vocab, len(ids)) + ids.astype("<i4").tobytes())
        for row in logits.reshape(-1, n_vocab):
            top, bottom = row.max(), max(row.min(), f32(row.max() - f32(16)))
            log_sum = f32(np.log(np.exp(row - top).astype(float).sum()))
            step = f32((top - bottom) / f32(65535))
            codes = np.where(row > bottom, np.rint((f32(1) / step) * (row - bottom)), 0).astype("<u2")
            f.write(struct.pack("<ff", step, f32(bottom - top) - log_sum) + codes.tobytes())
            f.write(b"\0\0" * (n_vocab % 2))


def load(path):
    """(ids, logs [chunks][scored][n_vocab]) of such a file."""
    with open(path, "rb") as f:
        data = f.read()
    n_ctx, n_vocab, n_chunks = struct.unpack_from("<Iii", data, 8)
    assert data[:8] == b"_logits_" and n_ctx == CHUNK, data[:20]
    ids = np.frombuffer(data, "<i4", n_chunks * n_ctx, 20).reshape(n_chunks, n_ctx)
    scored, words = n_ctx - 1 - n_ctx // 2, 2 * ((n_vocab + 1) // 2) + 4
    rows = np.frombuffer(data, "<u2", -1, 20 + ids.nbytes).reshape(n_chunks, scored, words)
    head = np.ascontiguousarray(rows[..., :4]).view("<f4")
    return ids, head[..., :1] * rows[..., 4:4 + n_vocab].astype(f32) + head[..., 1:]


def mean_and_error(values):
    n = values.size
    mean = values.mean()
    return mean, np.sqrt(max((values ** 2).mean() - mean * mean, 0) / (n - 1))


def statistics(ids, logits, base):
    """What llama-perplexity --kl-divergence prints, under the names of our JSON. `base`: stored logarithms."""
    logs = log_softmax(logits)
    p = np.where(base > -16, np.exp(base.astype(float)), 0)
    kld = (p * (base - logs)).sum(-1).ravel()
    nats, base_nats = nats_of(logs, ids).ravel(), nats_of(base.astype(float), ids).ravel()
    change = np.exp(-nats) - np.exp(-base_nats)
    same = (logits.argmax(-1) == base.argmax(-1)).ravel().astype(float)
    (mean, error), (base_mean, base_error) = mean_and_error(nats), mean_and_error(base_nats)
    cov = ((nats * base_nats).mean() - mean * base_mean) / (nats.size - 1)
    ppl, base_ppl = np.exp(mean), np.exp(base_mean)
    square, square_error = mean_and_error(change ** 2)
    r = {"perplexity": ppl, "base_perplexity": base_ppl, "base_perplexity_error": base_ppl * base_error,
         "correlation": cov / (error * base_error), "log_ratio": mean - base_mean,
         "log_ratio_error": np.sqrt(error ** 2 + base_error ** 2 - 2 * cov), "difference": ppl - base_ppl,
         "difference_error": np.sqrt((ppl * error) ** 2 + (base_ppl * base_error) ** 2 - 2 * ppl * base_ppl * cov),
         "rms_change": np.sqrt(square), "rms_change_error": .5 / np.sqrt(square) * square_error,
         "same_best": same.mean(), "same_best_error": np.sqrt(same.mean() * (1 - same.mean()) / (same.size - 1))}
    r["mean"], r["standard_error"] = mean_and_error(kld)
    r["mean_change"], r["mean_change_error"] = mean_and_error(change)
    for name, values in (("quantiles", np.sort(kld)), ("change_quantiles", np.sort(change))):
        for share in SHARES:
            at = share * (values.size - 1)
            low = int(at)
            high = min(low + 1, values.size - 1)
            r["%s %g" % (name, share)] = (1 - (at - low)) * values[low] + (at - low) * values[high]
    return r


class Check:
    def __init__(self):
        self.n_failed = 0

    def close(self, what, got, want, relative, absolute=0.0):
        good = abs(got - want) <= relative * abs(want) + absolute
        self.n_failed += not good
        if not good:
            print("FAILED  %s: %.9g, llama.cpp's way gives %.9g" % (what, got, want))
        return good


def ours(bitnet, *arguments):
    out = subprocess.run([bitnet, "perplexity", "--json", "-q", *arguments], check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout)


def shake(path, other):
    """A copy of the model with noise on its matrices."""
    shutil.copy(path, other)
    os.chmod(other, 0o600)
    random = np.random.default_rng(1)
    for tensor in gguf.GGUFReader(other, "r+").tensors:
        if len(tensor.shape) == 2:
            tensor.data[:] += random.normal(0, tensor.data.std() / 20, tensor.data.shape).astype(f32)


def compare(check, what, reply, want, relative, absolute):
    """Every statistic of our JSON against the dictionary."""
    d = dict(reply["divergence"], perplexity=reply["perplexity"])
    for name in ("quantiles", "change_quantiles"):
        for pair in d.pop(name):
            d["%s %g" % (name, pair["share"])] = pair["value"]
    before = check.n_failed
    for name, value in want.items():
        check.close("%s: %s" % (what, name), d[name], value, relative, absolute)
    print("%-7s %s: %d statistics; mean divergence %.6f, same best %.2f%%" % (
        "ok" if check.n_failed == before else "FAILED", what, len(want), d["mean"], 100 * d["same_best"]))


def main():
    bitnet = sys.argv[1]
    if not os.path.exists(MODEL):
        print("SKIPPED: no %s" % MODEL)
        return 77
    check = Check()
    with open(os.path.join(ROOT, "models", "tiny", "heldout.txt")) as f:
        text = f.read()[:24000]
    with tempfile.TemporaryDirectory() as work:
        path = {"f32": MODEL}
        text_path = os.path.join(work, "text")
        with open(text_path, "w") as f:
            f.write(text)
        path["f16"], path["shaken"] = (os.path.join(work, n + ".gguf") for n in ("f16", "shaken"))
        subprocess.run([bitnet, "quantize", MODEL, path["f16"], "f16", "--allow-lossy"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shake(MODEL, path["shaken"])
        flags = ("-f", text_path, "-c", str(CHUNK), "--chunks", str(N_CHUNKS))
        theirs = {}
        for qtype in ("f32", "f16", "shaken"):
            ids, logits = theirs[qtype] = read_with_llamacpp(path[qtype], text)
            want = np.exp(nats_of(log_softmax(logits), ids).mean())
            reply = ours(bitnet, "-m", path[qtype], *flags)
            good = check.close("perplexity of %s" % qtype, reply["perplexity"], want, 5e-4)
            print("%-7s perplexity %s: ours %.6f, llama.cpp %.6f (%.5f %%)" % (
                "ok" if good else "FAILED", qtype, reply["perplexity"], want,
                100 * abs(reply["perplexity"] / want - 1)), flush=True)

        own, their_base, our_base = (os.path.join(work, n) for n in ("own.kld", "theirs.kld", "ours.kld"))
        ours(bitnet, "-m", path["shaken"], "--save-logits", own, *flags)
        ours(bitnet, "-m", path["f32"], "--save-logits", our_base, *flags)
        store(their_base, *theirs["f32"])
        ids, own_logs = load(own)  # our logits of the other model, as its own stored predictions tell them
        their_ids, their_logs = load(their_base)
        our_ids, our_logs = load(our_base)
        good = (ids == their_ids).all() and (our_ids == their_ids).all() and (ids == theirs["f32"][0]).all()
        off = np.abs(np.maximum(our_logs, -14) - np.maximum(their_logs, -14))
        good = good and off.mean() < 0.003 and off.max() < 0.1  # its float attention sums in another order
        check.n_failed += not good
        print("%-7s stored files: tokens equal, logarithms %.5f apart on average, %.4f at most" % (
            "ok" if good else "FAILED", off.mean(), off.max()))
        for name, base, logs in (("formulas, their file", their_base, their_logs),
                                 ("formulas, our file", our_base, our_logs)):
            reply = ours(bitnet, "-m", path["shaken"], "--base", base, "--kl-divergence")
            # a logarithm has steps of at most 16 / 65535
            compare(check, name, reply, statistics(ids, own_logs, logs), 1e-3, 1.3e-4)
        want = statistics(their_ids, theirs["shaken"][1], their_logs)
        for name, arguments in (("whole chain, stored", ("--base", our_base)),
                                ("whole chain, side by side", ("--base", path["f32"], *flags))):
            compare(check, name, ours(bitnet, "-m", path["shaken"], *arguments), want, 5e-3, 1e-3)
    print("%d failed" % check.n_failed)
    return 1 if check.n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
