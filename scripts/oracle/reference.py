"""The forward pass of every family, written out, with the roundings that this project documents.

Written from formats.md 6 and 7 (which name transformers' models/llama, bitnet, qwen3 and gemma3,
integrations/bitnet.py, and microsoft/BitNet's docs/bitnet-embeddings-i2s-guide.md); record_families.py
proves it against transformers itself, and records what it computes. Three switches choose the
roundings: activations as int8 (one scale per token), keys and values as binary16, and a relative noise
on the embedding, which shows how far a rounding error of that size travels.
"""
import json
import math
import os

import torch
from safetensors import safe_open


def absmean(w):
    """Float masters -> trits and their scale (formats.md 2.3)."""
    scale = w.abs().double().mean().float().clamp(min=1e-5)
    return (w * (1.0 / scale)).round().clamp(-1, 1), scale


def unpack(packed, rows):
    """U8 [rows / 4, columns] -> trits: row group i lies in bits 2i, 2i + 1 (formats.md 6.1)."""
    return torch.cat([(packed >> 2 * i & 3).float() - 1 for i in range(4)])[:rows]


def rms(x, weight, eps):
    mean = x.double().pow(2).mean(-1, keepdim=True).float()
    return x * (1.0 / torch.sqrt(mean + eps)) * weight


class Model:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            self.config = json.load(f)
        self.tensors = {}
        with safe_open(os.path.join(folder, "model.safetensors"), "pt") as f:
            for name in f.keys():
                short = name[len("model."):] if name.startswith("model.") else name
                self.tensors[short] = f.get_tensor(name)
        c = self.config
        self.is_gemma = c["model_type"] == "gemma3_text"
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        self.head_dim = c.get("head_dim") or c["hidden_size"] // self.heads
        self.eps = c["rms_norm_eps"]
        quantization = c.get("quantization_config") or {}
        self.divides = quantization.get("linear_class", "bitlinear") == "bitlinear"
        self.is_online = (quantization.get("quantization_mode") == "online"
                          or c["architectures"][0] == "BitnetForCausalLM"
                          or any(n.endswith("_proj.norm.weight") for n in self.tensors))
        self.linears = {n[:-len(".weight")]: self.read_linear(n) for n in self.tensors
                        if n.endswith("_proj.weight")}

    def read_linear(self, name):
        """(trits, scale), or (weights, None) when they are no trits."""
        w = self.tensors[name]
        if w.dtype == torch.uint8:
            scale = self.tensors[name + "_scale"].float()
            return unpack(w, 4 * w.shape[0]), 1 / scale if self.divides else scale
        w = w.float()
        if self.is_online:
            return absmean(w)
        sizes = w.abs().unique()
        sizes = sizes[sizes > 0]
        return (w.sign(), sizes[0]) if len(sizes) == 1 else (w, None)

    def norm(self, x, name):
        w = self.tensors.get(name + ".weight")
        if w is None:
            return x
        is_shifted = self.is_gemma and not name.endswith("_proj.norm")
        return rms(x, 1.0 + w.float() if is_shifted else w.float(), self.eps)

    def linear(self, x, name):
        x = self.norm(x, name + ".norm")
        w, scale = self.linears[name]
        if scale is None:
            return x @ w.T
        if not self.as_int8:
            return x @ (w * scale).T
        s = (127.0 / x.abs().amax(-1, keepdim=True).double().clamp(min=1e-5)).float()
        return (x * s).round().clamp(-128, 127) @ w.T / s * scale

    def angles(self, n, is_local):
        """Cosines and sines [n, head_dim / 2]."""
        c = self.config
        newer = c.get("rope_parameters") or {}
        if self.is_gemma and newer:
            newer = newer["sliding_attention" if is_local else "full_attention"]
        older = c.get("rope_local_base_freq") if is_local else c.get("rope_theta")
        base = float(newer.get("rope_theta") or older)
        steps = base ** (-2.0 * torch.arange(self.head_dim // 2, dtype=torch.float64) / self.head_dim)
        stretch = c.get("rope_scaling")
        if stretch and stretch["rope_type"] == "llama3":  # formats.md 6.4
            waves = stretch["original_max_position_embeddings"] * steps / (2 * math.pi)
            low, high = stretch["low_freq_factor"], stretch["high_freq_factor"]
            smooth = ((waves - low) / (high - low)).clamp(0, 1)
            steps = steps * ((1 - smooth) / stretch["factor"] + smooth)
        angles = torch.arange(n, dtype=torch.float64)[:, None] * steps
        return angles.cos().float(), angles.sin().float()

    def rotate(self, x, cosines, sines):
        """By halves; x [n, heads, head_dim]."""
        a, b = x.chunk(2, -1)
        c, s = cosines[:, None], sines[:, None]
        return torch.cat([a * c - b * s, a * s + b * c], -1)

    def attention(self, h, layer, p):
        n = len(h)
        c = self.config
        q = self.linear(h, p + "self_attn.q_proj").view(n, self.heads, self.head_dim)
        k = self.linear(h, p + "self_attn.k_proj").view(n, self.kv_heads, self.head_dim)
        v = self.linear(h, p + "self_attn.v_proj").view(n, self.kv_heads, self.head_dim)
        q, k = self.norm(q, p + "self_attn.q_norm"), self.norm(k, p + "self_attn.k_norm")
        is_local = bool(c.get("layer_types")) and c["layer_types"][layer] == "sliding_attention"
        turn = self.angles(n, is_local)
        q, k = self.rotate(q, *turn), self.rotate(k, *turn)
        if self.cache_is_f16:
            k, v = k.half().float(), v.half().float()
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scale = c["query_pre_attn_scalar"] ** -0.5 if self.is_gemma else self.head_dim ** -0.5
        scores = torch.einsum("qhd,khd->hqk", q, k) * scale
        row, column = torch.arange(n)[:, None], torch.arange(n)[None]
        seen = column <= row
        if is_local:
            seen &= row - column < c["sliding_window"]
        weights = scores.masked_fill(~seen, -math.inf).softmax(-1)
        o = torch.einsum("hqk,khd->qhd", weights, v).reshape(n, -1)
        for name in ("attn_sub_norm", "inner_attn_ln"):
            o = self.norm(o, p + "self_attn." + name)
        return self.linear(o, p + "self_attn.o_proj")

    def gate(self, x):
        act = self.config.get("hidden_act") or self.config["hidden_activation"]
        if act == "relu2":
            return x.relu() ** 2
        return torch.nn.functional.silu(x) if act == "silu" else torch.nn.functional.gelu(x, approximate="tanh")

    def feed_forward(self, h, p):
        h = self.gate(self.linear(h, p + "mlp.gate_proj")) * self.linear(h, p + "mlp.up_proj")
        for name in ("ffn_sub_norm", "ffn_layernorm"):
            h = self.norm(h, p + "mlp." + name)
        return self.linear(h, p + "mlp.down_proj")

    @torch.no_grad()
    def hidden(self, ids, as_int8, cache_is_f16, noise=0.0, seed=0):
        """The vectors behind the last norm, [n, width]."""
        self.as_int8, self.cache_is_f16 = as_int8, cache_is_f16
        x = self.tensors["embed_tokens.weight"].float()[ids]
        if self.is_gemma:
            x = x * math.sqrt(self.config["hidden_size"])
        if noise:
            x = x * (1 + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)))
        for layer in range(self.config["num_hidden_layers"]):
            p = f"layers.{layer}."
            y = self.attention(self.norm(x, p + "input_layernorm"), layer, p)
            if self.is_gemma:
                y = self.norm(y, p + "post_attention_layernorm")
            x = x + y
            before = "pre_feedforward_layernorm" if self.is_gemma else "post_attention_layernorm"
            y = self.feed_forward(self.norm(x, p + before), p)
            if self.is_gemma:
                y = self.norm(y, p + "post_feedforward_layernorm")
            x = x + y
        return self.norm(x, "norm")

    def logits(self, hidden):
        head = self.tensors.get("lm_head.weight")
        if head is None or self.config.get("tie_word_embeddings", self.is_gemma):
            head = self.tensors["embed_tokens.weight"]
        return hidden @ head.float().T
