#!/usr/bin/env python3
"""Holds what `bitnet gguf dump --json --full` says about files against the gguf Python package: every key, type,
string, number, and for every tensor name, type, shape, place and bytes.

    check_gguf.py --bitnet PROGRAM FILE...
    check_gguf.py --bitnet PROGRAM --convert MODEL_DIR        converts it to every type first, checks those files

Needs the environment of scripts/oracle/venv.sh (BITNET_VENV, or build/venv); without it: exit code 77, saying so.
The package knows ggml's type numbers only. For a file with others (I2_S, TL1, TL2, IQ2_BN) its parser still reads
keys and tensor infos; sizes and bytes are then compared with the file itself.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def enter_venv():
    """Starts again under the environment's interpreter, or leaves with 77."""
    try:
        import gguf  # noqa: F401
        return
    except ImportError:
        pass
    python = pathlib.Path(os.environ.get("BITNET_VENV", ROOT / "build/venv")) / "bin/python"
    if not python.exists() or os.environ.get("BITNET_IN_VENV"):
        print(f"SKIPPED: check_gguf (no gguf package; scripts/oracle/venv.sh makes {python.parent.parent})")
        sys.exit(77)
    os.environ["BITNET_IN_VENV"] = "1"
    os.execv(python, [str(python), *sys.argv])


enter_venv()
import gguf  # noqa: E402
import numpy  # noqa: E402


class Reader(gguf.GGUFReader):
    """The package's reader, which does not stop at type numbers that it does not know, or knows as something else."""

    dialect = "ggml"

    def _build_tensors(self, start_offs, fields):
        self.infos = []
        self.data_start = int(start_offs)
        for field in fields:
            _, name, _, dims, number, offset = field.parts
            self.infos.append((bytes(name).decode(), [int(d) for d in dims], int(number[0]), int(offset[0])))
        known = {int(t) for t in gguf.GGMLQuantizationType}
        self.speaks = self.dialect == "ggml" and all(info[2] in known for info in self.infos)
        if self.speaks:
            super()._build_tensors(start_offs, fields)


def raw_text(value):
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value.encode()


NUMBERS = {"u8": numpy.uint8, "i8": numpy.int8, "u16": numpy.uint16, "i16": numpy.int16, "u32": numpy.uint32, "i32": numpy.int32,
           "u64": numpy.uint64, "i64": numpy.int64, "f32": numpy.float32, "f64": numpy.float64, "bool": numpy.bool_}
TYPES = ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"]


def same_number(kind, ours, theirs):
    ours = NUMBERS[kind](float(ours) if isinstance(ours, str) else ours)
    return ours == theirs or (ours != ours and theirs != theirs)


def check_key(pair, field):
    kinds = [TYPES[int(t)] for t in field.types]
    assert kinds[0] == pair["type"], (pair["key"], kinds, pair["type"])
    if pair["type"] == "array":
        assert len(field.data) == pair["count"] == len(pair["values"]), pair["key"]
        if pair["count"] == 0:
            return
        kind, values = kinds[-1], pair["values"]
        assert kind == pair["element"], pair["key"]
    else:
        kind, values = kinds[0], [pair["value"]]
    for value, index in zip(values, field.data):
        part = field.parts[index]
        if kind == "string":
            assert raw_text(value) == bytes(part), (pair["key"], value)
        else:
            assert same_number(kind, value, part[0]), (pair["key"], value, part[0])


def check_tensor(path, ours, info, theirs, data_start):
    name, dims, number, offset = info
    assert raw_text(ours["name"]).decode() == name
    assert (ours["dims"], ours["type_number"], ours["offset"]) == (dims, number, offset), name
    assert ours["position"] == data_start + offset, name
    if theirs is not None:
        assert theirs.tensor_type.name == ours["type"], name
        assert (int(theirs.n_bytes), int(theirs.data_offset)) == (ours["bytes"], ours["position"]), name
        with open(path, "rb") as file:
            file.seek(ours["position"])
            assert file.read(ours["bytes"]) == numpy.ascontiguousarray(theirs.data).tobytes(), name
    else:
        assert ours["position"] + ours["bytes"] <= os.path.getsize(path), name


def check_file(program, path):
    dump = json.loads(subprocess.run([program, "gguf", "dump", "--json", "--full", path], check=True, stdout=subprocess.PIPE).stdout)
    Reader.dialect = dump["dialect"]
    reader = Reader(path)
    keys = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert [pair["key"] for pair in dump["metadata"]] == list(keys), "keys or their order differ"
    for pair in dump["metadata"]:
        if pair["type"] != "array" or pair["element"] != "array":
            check_key(pair, keys[pair["key"]])
    assert len(dump["tensors"]) == len(reader.infos), "numbers of tensors differ"
    for i, ours in enumerate(dump["tensors"]):
        check_tensor(path, ours, reader.infos[i], reader.tensors[i] if reader.speaks else None, reader.data_start)
    assert dump["alignment"] == reader.alignment
    print(f"{path}: {len(keys)} keys, {len(reader.infos)} tensors equal" + ("" if reader.speaks else " (infos only)"))


WRITTEN = ["f32", "f16", "bf16", "i2_s", "tl1", "tl2", "iq2_s", "tq1_0", "tq2_0", "iq2_bn", "iq2_bn_r4", "q8_0", "q6_k", "q4_0"]


def convert_all(program, model, folder):
    """Every type that the program writes."""
    made = []
    for name in WRITTEN:
        path = os.path.join(folder, name + ".gguf")
        result = subprocess.run([program, "convert", model, "-o", path, "--qtype", name], capture_output=True, text=True)
        assert result.returncode == 0, f"{name}: {result.stderr.strip()}"
        made.append(path)
    return made


def check_values(program, path, folder):
    """Where the package has a dequantizer for every type of the file, it finds the numbers that we find."""
    reader = Reader(path)  # with the dialect that check_file() was told
    if not reader.speaks:
        return
    plain = os.path.join(folder, "plain.gguf")
    subprocess.run([program, "quantize", path, plain, "f32", "--embd-type", "f32", "--force", "--quiet"],
                   check=True, stdout=subprocess.DEVNULL)
    ours = {tensor.name: tensor for tensor in Reader(plain).tensors}
    for tensor in reader.tensors:
        theirs = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32).reshape(-1)
        mine = ours[tensor.name].data.reshape(-1)
        assert numpy.array_equal(theirs, mine), f"{path}: {tensor.name}: other values"
    print(f"{path}: {len(ours)} tensors have the package's values")


def check_direct_parts(program, model, folder):
    """Parts that the converter wrote directly hold what the whole file holds."""
    prefix = os.path.join(folder, "direct")
    subprocess.run([program, "convert", model, "-o", prefix + ".gguf", "--qtype", "f16", "--split-max-size", "4M"],
                   check=True, stdout=subprocess.DEVNULL)
    whole = {tensor.name: tensor for tensor in Reader(os.path.join(folder, "f16.gguf")).tensors}
    parts = sorted(pathlib.Path(folder).glob("direct-*-of-*.gguf"))
    assert len(parts) > 1 and not os.path.exists(prefix + ".gguf"), parts
    for part in parts:
        for tensor in Reader(str(part)).tensors:
            theirs = whole.pop(tensor.name)
            assert numpy.ascontiguousarray(theirs.data).tobytes() == numpy.ascontiguousarray(tensor.data).tobytes(), tensor.name
    assert not whole, sorted(whole)
    print(f"{prefix}: {len(parts)} parts, written directly, hold it all")


def check_split(program, path, folder):
    """The package reads every part of a set that we split: all tensors there, once, byte for byte."""
    prefix = os.path.join(folder, "split")
    subprocess.run([program, "gguf", "split", path, prefix, "--max-size", "1M"], check=True, stdout=subprocess.DEVNULL)
    parts = [Reader(str(part)) for part in sorted(pathlib.Path(folder).glob("split-*.gguf"))]
    whole = {tensor.name: tensor for tensor in Reader(path).tensors}
    n_tensors = len(whole)
    assert len(parts) > 1, "one part only"
    for number, part in enumerate(parts):
        fields = {name: int(part.fields[name].parts[-1][0]) for name in ("split.no", "split.count", "split.tensors.count")}
        assert fields == {"split.no": number, "split.count": len(parts), "split.tensors.count": n_tensors}, fields
        for tensor in part.tensors:
            theirs = whole.pop(tensor.name)
            assert theirs.tensor_type == tensor.tensor_type and numpy.array_equal(theirs.shape, tensor.shape), tensor.name
            assert numpy.ascontiguousarray(theirs.data).tobytes() == numpy.ascontiguousarray(tensor.data).tobytes(), tensor.name
    assert not whole, sorted(whole)
    print(f"{path}: {len(parts)} parts hold it all")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bitnet", required=True)
    parser.add_argument("--convert", metavar="MODEL_DIR")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    for path in options.files:
        check_file(options.bitnet, path)
    if options.convert:
        with tempfile.TemporaryDirectory() as folder:
            for path in convert_all(options.bitnet, options.convert, folder):
                check_file(options.bitnet, path)
                check_values(options.bitnet, path, folder)
            Reader.dialect = "ggml"
            check_direct_parts(options.bitnet, options.convert, folder)
            check_split(options.bitnet, os.path.join(folder, "f16.gguf"), folder)


if __name__ == "__main__":
    main()
