"""llama.cpp itself, for oracles and benchmarks: the C functions inside of xllamacpp's extension module.

The bindings offer a server only, but the module exports llama.cpp's whole C interface (llama.h), so ctypes can
evaluate tokens and read logits. Parameter structs are passed through as llama.cpp filled them; the few fields that are
set are found by their defaults (512, 2048, 512, ... and two threads counts of 4), and the result is checked by asking
the context, so that another layout in a later version is noticed, not misread.

Imported by check_perplexity.py and by scripts/bench/peers.py.
"""
import ctypes
import glob
import os
import struct

import numpy as np


def library():
    import xllamacpp  # ImportError: the caller says that it skips
    path = glob.glob(os.path.join(os.path.dirname(xllamacpp.__file__), "*.so"))[0]
    lib = ctypes.CDLL(path)
    pointer, i32, u32 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint32
    for name, result, arguments in (
            ("llama_model_default_params", Params, []),
            ("llama_context_default_params", Params, []),
            ("llama_model_load_from_file", pointer, [ctypes.c_char_p, Params]),
            ("llama_init_from_model", pointer, [pointer, Params]),
            ("llama_model_free", None, [pointer]),
            ("llama_free", None, [pointer]),
            ("llama_model_get_vocab", pointer, [pointer]),
            ("llama_vocab_n_tokens", i32, [pointer]),
            ("llama_vocab_bos", i32, [pointer]),
            ("llama_vocab_get_add_bos", ctypes.c_bool, [pointer]),
            ("llama_tokenize", i32, [pointer, ctypes.c_char_p, i32, pointer, i32, ctypes.c_bool, ctypes.c_bool]),
            ("llama_batch_init", Batch, [i32, i32, i32]),
            ("llama_batch_free", None, [Batch]),
            ("llama_decode", i32, [pointer, Batch]),
            ("llama_synchronize", None, [pointer]),
            ("llama_get_logits", pointer, [pointer]),
            ("llama_get_memory", pointer, [pointer]),
            ("llama_memory_clear", None, [pointer, ctypes.c_bool]),
            ("llama_n_ctx", u32, [pointer]),
            ("llama_n_batch", u32, [pointer]),
            ("llama_n_threads", i32, [pointer]),
            ("llama_n_threads_batch", i32, [pointer]),
            ("llama_print_system_info", ctypes.c_char_p, []),
            ("llama_log_set", None, [pointer, pointer]),
            ("llama_backend_init", None, [])):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Params(ctypes.Structure):
    """Any parameter struct of llama.h: larger than all of them, so it survives being passed by value."""
    _fields_ = [("bytes", ctypes.c_uint8 * 512)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Llama:
    """A model and one context of it."""

    def __init__(self, path, n_ctx=512, n_batch=512, n_threads=1):
        self.lib = lib = library()
        self.errors = []
        self.log = LOG(lambda level, text, _: self.errors.append(text.decode(errors="replace")) if level == 4 else None)
        lib.llama_log_set(ctypes.cast(self.log, ctypes.c_void_p), None)
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
        if not self.model:
            raise OSError("llama.cpp cannot load %s: %s" % (path, "".join(self.errors).strip()))
        params = lib.llama_context_default_params()
        words = list(struct.unpack_from("16i", bytes(params)))
        at = next(i for i in range(15) if words[i] == 4 and words[i + 1] == 4)
        if words[:3] != [512, 2048, 512]:
            raise OSError("llama_context_params has another layout: %s" % words)
        words[0:3], words[at], words[at + 1] = [n_ctx, n_batch, min(n_batch, 512)], n_threads, n_threads
        struct.pack_into("16i", params.bytes, 0, *words)
        self.context = lib.llama_init_from_model(self.model, params)
        if not self.context or lib.llama_n_batch(self.context) != n_batch or \
                lib.llama_n_threads(self.context) != n_threads or lib.llama_n_threads_batch(self.context) != n_threads:
            raise OSError("llama.cpp has not taken the parameters: %s" % "".join(self.errors))
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.n_vocab = lib.llama_vocab_n_tokens(self.vocab)
        self.bos = lib.llama_vocab_bos(self.vocab) if lib.llama_vocab_get_add_bos(self.vocab) else None
        self.batch = lib.llama_batch_init(n_batch, 0, 1)
        self.n_batch, self.position = n_batch, 0

    def tokenize(self, text):
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 8))()
        n = self.lib.llama_tokenize(self.vocab, data, len(data), ids, len(ids), True, False)
        return list(ids[:n])

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        self.position = 0

    def eval(self, ids, first_logits=None):
        """Evaluates after what is there; logits [n][n_vocab] of the tokens from `first_logits` on, or None."""
        rows = []
        for begin in range(0, len(ids), self.n_batch):
            part = ids[begin:begin + self.n_batch]
            n_rows = 0
            for i, token in enumerate(part):
                wanted = first_logits is not None and begin + i >= first_logits
                n_rows += wanted
                self.batch.token[i], self.batch.pos[i] = token, self.position + i
                self.batch.n_seq_id[i], self.batch.seq_id[i][0], self.batch.logits[i] = 1, 0, wanted
            if first_logits is None:  # as llama-bench: the last one
                self.batch.logits[len(part) - 1] = 1
            self.batch.n_tokens = len(part)
            if self.lib.llama_decode(self.context, self.batch):
                raise OSError("llama_decode failed: %s" % "".join(self.errors))
            self.position += len(part)
            if n_rows:
                at = self.lib.llama_get_logits(self.context)
                floats = (ctypes.c_float * (n_rows * self.n_vocab)).from_address(at)
                rows.append(np.array(floats, np.float32).reshape(n_rows, self.n_vocab))
        self.lib.llama_synchronize(self.context)
        return np.concatenate(rows) if rows else None

    def close(self):
        self.lib.llama_batch_free(self.batch)
        self.lib.llama_free(self.context)
        self.lib.llama_model_free(self.model)
