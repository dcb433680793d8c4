"""BitNet b1.58 for training: the 2B-4T architecture at any size, float32 masters, straight-through gradients.

Forward, per layer, with RMS the root-mean-square norm and BL a ternary linear:

    x += BL_o(RMS(attention(rope(BL_q(a)), rope(BL_k(a)), BL_v(a))))     a = RMS(x)
    x += BL_down(RMS(relu(BL_gate(b))^2 * BL_up(b)))                    b = RMS(x)
    logits = E RMS(x)                                                   E the input embedding, not quantized

    BL(x, W): s = 127 / max|x| per token, q = round(x s);  m = mean|W| per matrix, t = clamp(round(W / m), -1, 1)
              y = (q . t) * m / s                           m rounded to bfloat16 in the product, as it is stored

q and t are small integers, exact in bfloat16, so their product may run on bfloat16 units without losing anything but
the rounding of its result. Backward takes both roundings for the identity.
"""
import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Shape:
    vocab_size: int = 1024
    hidden_size: int = 512
    intermediate_size: int = 1024
    num_hidden_layers: int = 4
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    max_position_embeddings: int = 512
    rms_norm_eps: float = 1e-5
    rope_theta: float = 500000.0

    def dict(self):
        return asdict(self)


def ternarize(w):
    """(trits, mean|W|): what is exported, and what every forward pass uses."""
    mean = w.abs().mean().clamp(min=1e-5)
    return (w / mean).round().clamp(-1, 1), mean.to(torch.bfloat16)


class TernaryProduct(torch.autograd.Function):
    """Several ternary linears on one input, which is quantized once."""

    @staticmethod
    def forward(ctx, x, *weights):
        trits, means = zip(*(ternarize(w) for w in weights))
        rows = [w.shape[0] for w in weights]
        t = torch.cat([v.to(torch.bfloat16) for v in trits])
        mean = torch.cat([m.float().expand(r) for m, r in zip(means, rows)])
        s = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
        q = (x * s).round().to(torch.bfloat16)
        ctx.save_for_backward(q, s, t, mean)
        ctx.rows = rows
        return F.linear(q, t).float() * (mean / s)

    @staticmethod
    def backward(ctx, g):
        q, s, t, mean = ctx.saved_tensors
        gx = ((g * mean).to(torch.bfloat16) @ t).float()
        gw = ((g / s).to(torch.bfloat16).flatten(0, -2).t() @ q.flatten(0, -2)).float()
        return (gx, *gw.split(ctx.rows))


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def rotate(x, cos, sin):
    one, two = x.chunk(2, -1)
    return torch.cat([one * cos - two * sin, two * cos + one * sin], -1)


def matrix(rows, cols):
    return nn.Linear(cols, rows, bias=False)


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.heads, self.kv = shape.num_attention_heads, shape.num_key_value_heads
        h = shape.hidden_size
        self.dim = h // self.heads
        self.q_proj, self.o_proj = matrix(h, h), matrix(h, h)
        self.k_proj, self.v_proj = matrix(self.kv * self.dim, h), matrix(self.kv * self.dim, h)
        self.attn_sub_norm = Norm(h, shape.rms_norm_eps)

    def forward(self, x, cos, sin):
        b, n, h = x.shape
        y = TernaryProduct.apply(x, self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)
        y = y.view(b, n, self.heads + 2 * self.kv, self.dim).transpose(1, 2)
        q, k, v = y.split([self.heads, self.kv, self.kv], 1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        o = F.scaled_dot_product_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), is_causal=True, enable_gqa=True)
        o = self.attn_sub_norm(o.float().transpose(1, 2).reshape(b, n, h))
        return TernaryProduct.apply(o, self.o_proj.weight)


class Mlp(nn.Module):
    def __init__(self, shape):
        super().__init__()
        h, f = shape.hidden_size, shape.intermediate_size
        self.gate_proj, self.up_proj, self.down_proj = matrix(f, h), matrix(f, h), matrix(h, f)
        self.ffn_sub_norm = Norm(f, shape.rms_norm_eps)

    def forward(self, x):
        gate, up = TernaryProduct.apply(x, self.gate_proj.weight, self.up_proj.weight).chunk(2, -1)
        return TernaryProduct.apply(self.ffn_sub_norm(F.relu(gate).square() * up), self.down_proj.weight)


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.input_layernorm = Norm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = Norm(shape.hidden_size, shape.rms_norm_eps)
        self.mlp = Mlp(shape)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    """Named as the checkpoint names it: `model.` stands before every parameter."""

    def __init__(self, shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = Norm(shape.hidden_size, shape.rms_norm_eps)


class BitNet(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.model = Body(shape)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)
        dim = shape.hidden_size // shape.num_attention_heads
        angle = shape.rope_theta ** (-torch.arange(0, dim, 2).double() / dim)
        angle = torch.outer(torch.arange(shape.max_position_embeddings).double(), angle)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, ids, targets):
        """Mean cross entropy over the targets that are not negative."""
        x = self.model.embed_tokens(ids)
        cos, sin = self.cos[:ids.shape[1]], self.sin[:ids.shape[1]]
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        logits = F.linear(self.model.norm(x).bfloat16(), self.model.embed_tokens.weight.bfloat16())
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-100)
