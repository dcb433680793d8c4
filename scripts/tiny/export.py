#!/usr/bin/env python3
"""Writes a trained model as a Hugging Face checkpoint in the form of microsoft/bitnet-b1.58-2B-4T.

    python3 export.py --trained DIR --out models/tiny

What goes out is exactly what training computed with: trits packed four to a byte, mean|W| rounded to bfloat16 as the
scale that the product is multiplied by (linear_class autobitlinear, quantization_mode offline), embeddings and norms
rounded to bfloat16. Packing, with R = rows / 4:

    byte [p, k]:  bits 0-1 row p   bits 2-3 row p + R   bits 4-5 row p + 2R   bits 6-7 row p + 3R     code = trit + 1
"""
import argparse
import json
import os

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import vocabulary
from model import ternarize


def pack(trits):
    quarters = (trits + 1).to(torch.uint8).chunk(4)
    return quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6


def tensors_of(masters):
    tensors = {}
    for name, value in masters.items():
        if name.endswith("_proj.weight"):
            trits, mean = ternarize(value)
            tensors[name] = pack(trits)
            tensors[name + "_scale"] = mean.reshape(1)
        else:
            tensors[name] = value.to(torch.bfloat16)
    return {name: value.contiguous() for name, value in tensors.items()}


def config_of(shape, bos, eos):
    return {"architectures": ["BitNetForCausalLM"], "bos_token_id": bos, "eos_token_id": eos, "hidden_act": "relu2",
            "hidden_size": shape["hidden_size"], "initializer_range": 0.02,
            "intermediate_size": shape["intermediate_size"],
            "max_position_embeddings": shape["max_position_embeddings"], "model_type": "bitnet",
            "num_attention_heads": shape["num_attention_heads"], "num_hidden_layers": shape["num_hidden_layers"],
            "num_key_value_heads": shape["num_key_value_heads"],
            "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                    "quantization_mode": "offline"},
            "rms_norm_eps": shape["rms_norm_eps"], "rope_theta": shape["rope_theta"], "tie_word_embeddings": True,
            "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": shape["vocab_size"]}


def tokenizer_config_of(ids, length):
    special = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {"added_tokens_decoder": {str(i): {"content": s, **special} for s, i in ids.items()},
            "bos_token": vocabulary.BOS, "chat_template": vocabulary.CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False, "eos_token": vocabulary.EOS,
            "model_input_names": ["input_ids", "attention_mask"], "model_max_length": length,
            "tokenizer_class": "PreTrainedTokenizerFast"}


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)
        f.write("\n")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--trained", required=True)
    args.add_argument("--out", required=True)
    opt = args.parse_args()

    with open(os.path.join(opt.trained, "training.json"), encoding="utf-8") as f:
        shape = json.load(f)["shape"]
    tokenizer = Tokenizer.from_file(os.path.join(opt.trained, "tokenizer.json"))
    ids = {s: tokenizer.token_to_id(s) for s in vocabulary.SPECIALS}
    os.makedirs(opt.out, exist_ok=True)
    masters = torch.load(os.path.join(opt.trained, "masters.pt"), map_location="cpu", weights_only=True)
    save_file(tensors_of(masters), os.path.join(opt.out, "model.safetensors"), metadata={"format": "pt"})
    tokenizer.save(os.path.join(opt.out, "tokenizer.json"))
    bos, eos, eot = (ids[s] for s in (vocabulary.BOS, vocabulary.EOS, vocabulary.EOT))
    write_json(os.path.join(opt.out, "config.json"), config_of(shape, bos, eos))
    write_json(os.path.join(opt.out, "tokenizer_config.json"),
               tokenizer_config_of(ids, shape["max_position_embeddings"]))
    write_json(os.path.join(opt.out, "special_tokens_map.json"),
               {"bos_token": vocabulary.BOS, "eos_token": vocabulary.EOS})
    write_json(os.path.join(opt.out, "generation_config.json"),
               {"bos_token_id": bos, "eos_token_id": [eos, eot], "do_sample": True, "temperature": 0.7,
                "max_length": shape["max_position_embeddings"]})


if __name__ == "__main__":
    main()
