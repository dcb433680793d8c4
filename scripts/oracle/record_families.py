#!/usr/bin/env python3
"""Writes down what every family's checkpoint computes: tests/golden/families/.

    record_families.py MAKE_CHECKPOINT [--out FOLDER]

For each family of tests/convert/family.c: the checkpoint is made; transformers runs it (where it lacks
the family, its backbone with the linear layers of the published model, written out below), with and
without int8 activations; reference.py runs it too and must agree with transformers. What is recorded is
reference.py with keys and values in binary16, as the product keeps them, and how far a relative
error of 1e-6 in the embedding travels there, which is what a bound on the int8 results must allow.
"""
import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.integrations import bitnet
from transformers.utils import logging

import reference

IDS = [1] + [(7 * i * i + 31 * i + 5) % 256 + 3 for i in range(23)]
POSITIONS = [0, 9, 23]
N_EMBEDDED = 16  # tokens of an embedding family, more than its window
SEEDS, NOISE = 8, 1e-6


class NormedBitLinear(torch.nn.Linear):
    """An embedding model's projection: RMS norm of its input, int8 activations, trits by absmean.
    (microsoft/BitNet, docs/bitnet-embeddings-i2s-guide.md, 3.1)"""

    def __init__(self, linear, eps):
        super().__init__(linear.in_features, linear.out_features, bias=False)
        self.norm = torch.nn.RMSNorm(linear.in_features, eps=eps)

    def forward(self, x):
        x = bitnet.ActQuant.apply(self.norm(x))
        return torch.nn.functional.linear(x, bitnet.WeightQuant.apply(self.weight))


def load_embedding(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModel.from_config(config, dtype=torch.float32, attn_implementation="eager")
    for name, module in list(model.named_modules()):
        if name.endswith("_proj"):
            parent = model.get_submodule(name.rsplit(".", 1)[0])
            setattr(parent, name.rsplit(".", 1)[1], NormedBitLinear(module, config.rms_norm_eps))
    state = {k.removeprefix("model."): v.float() for k, v in load_file(os.path.join(folder, "model.safetensors")).items()}
    model.load_state_dict(state, strict=True)
    return model.eval()


def load_1bitllm(folder, scratch):
    """1bitLLM's modeling code is not in transformers; its graph is that of transformers' BitNet, with a
    SiLU gate and other names for the two norms."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    config.update(architectures=["BitNetForCausalLM"], model_type="bitnet", quantization_config={
        "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"})
    with open(os.path.join(scratch, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    names = {"inner_attn_ln": "attn_sub_norm", "ffn_layernorm": "ffn_sub_norm"}
    state = load_file(os.path.join(folder, "model.safetensors"))
    for old, new in names.items():
        state = {k.replace(old, new): v.float() for k, v in state.items()}
    save_file(state, os.path.join(scratch, "model.safetensors"), {"format": "pt"})
    return load_plain(scratch)


def load_plain(folder):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", attn_implementation="eager", output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[what], (folder, what, info[what])
    model = model.to(torch.float32).eval()
    for module in model.modules():  # they remember the checkpoint's dtype, and multiply in it
        if isinstance(module, bitnet.BitLinear):
            module.dtype = torch.float32
    return model


class FloatActivations:
    """transformers without the rounding of activations."""

    def __enter__(self):
        self.saved = bitnet.BitLinear.activation_quant, bitnet.ActQuant.forward
        bitnet.BitLinear.activation_quant = lambda self, x, num_bits=8: (x, torch.ones_like(x[..., :1]))
        bitnet.ActQuant.forward = staticmethod(lambda ctx, x: x)

    def __exit__(self, *_):
        bitnet.BitLinear.activation_quant, bitnet.ActQuant.forward = self.saved


@torch.no_grad()
def run_transformers(model, ids, is_embedding):
    out = model(torch.tensor([ids]))
    return (out.last_hidden_state if is_embedding else out.logits)[0]


def distance(a, b, spread):
    """Mean over positions of the rms difference, in units of the spread."""
    return float((a - b).pow(2).mean(-1).sqrt().mean()) / spread


def record(name, make, out):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as scratch:
        subprocess.run([make, "family", name, folder], check=True)
        is_embedding = os.path.exists(os.path.join(folder, "modules.json"))
        ids = IDS[:N_EMBEDDED] if is_embedding else IDS
        digest = hashlib.sha256()
        for part in ("config.json", "model.safetensors"):
            with open(os.path.join(folder, part), "rb") as f:
                digest.update(f.read())
        is_1bitllm = "BitnetForCausalLM" in open(os.path.join(folder, "config.json"), encoding="utf-8").read()
        theirs = (load_embedding(folder) if is_embedding else load_1bitllm(folder, scratch) if is_1bitllm
                  else load_plain(folder))
        ours = reference.Model(folder)

    def run(**switches):
        hidden = ours.hidden(ids, **switches)
        return hidden if is_embedding else ours.logits(hidden)

    with FloatActivations():
        theirs_float = run_transformers(theirs, ids, is_embedding)
    theirs_int8 = run_transformers(theirs, ids, is_embedding)
    # Dense floats that happen to be trits (Falcon-E's bfloat16 revision): transformers does not know, and
    # rounds no activations; the model that they were made from does.
    is_disguised = all(scale is not None for _, scale in ours.linears.values()) and torch.equal(theirs_float, theirs_int8)
    ours_float, ours_int8 = (run(as_int8=i, cache_is_f16=False) for i in (False, True))
    spread = float(theirs_float.std(-1).mean())
    kept_float, kept_int8 = (run(as_int8=i, cache_is_f16=True) for i in (False, True))

    def chaos(as_int8, kept):
        noisy = [run(as_int8=as_int8, cache_is_f16=True, noise=NOISE, seed=s) for s in range(SEEDS)]
        return max(distance(n, kept, spread) for n in noisy)

    facts = {
        "sha256": digest.hexdigest(), "spread": spread,
        "transformers_float": distance(theirs_float, ours_float, spread),
        "transformers_int8": None if is_disguised else distance(theirs_int8, ours_int8, spread),
        "transformers_to_recorded": None if is_disguised else distance(theirs_int8, kept_int8, spread),
        "f16_cache": distance(ours_float, kept_float, spread),
        "float_chaos": chaos(False, kept_float), "int8_chaos": chaos(True, kept_int8),
    }
    print(name, {k: float(f"{v:.3g}") for k, v in facts.items() if k != "sha256" and v is not None}, flush=True)
    # A reading of the checkpoint that differs from transformers' is a difference of order 1; f32
    # arithmetic in another order is one of 1e-6, which int8 rounding may blow up as far as noise does.
    assert facts["transformers_float"] < 2e-5 + facts["float_chaos"], (name, facts)
    assert is_disguised or facts["transformers_int8"] < 2e-5 + 4 * facts["int8_chaos"], (name, facts)
    at = list(range(len(ids))) if is_embedding else POSITIONS
    rows = torch.cat([kept_float[at], kept_int8[at]])
    rows.numpy().astype("<f4").tofile(os.path.join(out, name + ".f32"))
    return {"ids": ids, "positions": at, "is_embedding": is_embedding, "width": rows.shape[1], **facts}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("make")
    parser.add_argument("--out", default=os.path.join(root, "tests", "golden", "families"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    os.makedirs(options.out, exist_ok=True)
    names = subprocess.run([options.make, "families"], check=True, capture_output=True, text=True).stdout.split()
    families = {name: record(name, options.make, options.out) for name in names}
    with open(os.path.join(options.out, "families.json"), "w", encoding="utf-8") as f:
        json.dump({"made_by": "scripts/oracle/record_families.py",
                   "versions": {"python": platform.python_version(), "torch": torch.__version__,
                                "transformers": transformers.__version__},
                   "noise": NOISE, "families": families}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    sys.exit(main())
