#!/usr/bin/env python3
"""Write the small torch files of tests/data/weights and the seeds of tests/fuzz/corpus. Needs torch and numpy.

    python3 tests/tools/make_weight_samples.py

Numbers follow a rule that the tests repeat: element i of every tensor is (i * 7 % 64 - 32) / 8.
"""
import collections
import os
import pickle
import struct
import sys
import zipfile
import io

import numpy
import torch

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(TESTS, "data", "weights")
CORPUS = os.path.join(TESTS, "fuzz", "corpus")


def numbers(*shape, dtype=torch.float32):
    count = 1
    for n in shape:
        count *= n
    return ((torch.arange(count) * 7 % 64 - 32) / 8).reshape(*shape).to(dtype)


def types():
    root = collections.OrderedDict()
    for name in ("float32", "float16", "bfloat16", "float64"):
        root[name] = numbers(3, 5, dtype=getattr(torch, name))
    for name in ("int64", "int32", "int16", "int8"):
        root[name] = (numbers(3, 5) * 8).to(getattr(torch, name))
    root["uint8"] = (numbers(3, 5) * 8 + 32).to(torch.uint8)
    root["bool"] = numbers(3, 5) > 0
    return root


def layouts():
    base = numbers(6, 4)
    return {
        "base": base,
        "transposed": base.t(),
        "column": base[:, 1],
        "block": base[2:5, 1:3],
        "row": base[3],
        "expanded": base[0].expand(3, 4),
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(2.5),
        "parameter": torch.nn.Parameter(base[4]),
    }


class Callback:
    """Stands for the objects that training frameworks put into checkpoints."""

    def __init__(self):
        self.best = 0.25


def checkpoint():
    return {
        "state_dict": collections.OrderedDict(a=numbers(4), b=numbers(2, 2)),
        "optimizer": {"state": {0: {"momentum": numbers(4)}}},
        "callbacks": {"c": Callback()},
        "epoch": 3,
        "global_step": 12345678901,
        "learning_rate": 1e-5,
        "name": "caf\u00e9",
        "done": True,
        "numpy_step": numpy.int64(77),
        "array": numpy.asfortranarray(numpy.arange(6, dtype="f4").reshape(2, 3)),
    }


def deflate(path, to):
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))


def write_safetensors(path, header, data):
    text = header.encode() if isinstance(header, str) else header
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)


def main():
    os.makedirs(DATA, exist_ok=True)
    for name in ("safetensors", "pickle", "zip"):
        os.makedirs(os.path.join(CORPUS, name), exist_ok=True)
    place = lambda name: os.path.join(DATA, name)
    for name, value in (("types", types()), ("layouts", layouts()), ("checkpoint", checkpoint())):
        torch.save(value, place(name + ".pt"))
        torch.save(value, place(name + ".legacy.pt"), _use_new_zipfile_serialization=False)
    for protocol in (3, 4):
        torch.save(checkpoint(), place("checkpoint.protocol%d.pt" % protocol), pickle_protocol=protocol)
    deflate(place("layouts.pt"), place("layouts.deflated.pt"))
    with open(place("arrays.pkl"), "wb") as out:
        pickle.dump({"a": numpy.arange(12, dtype="f4").reshape(3, 4), "b": {"c": numpy.arange(3)}}, out, protocol=4)
    # Seeds: small files of each format, and programs that use what the files above do not.
    torch.save({"w": numbers(4), "n": 1}, os.path.join(CORPUS, "zip", "plain.pt"))
    deflate(os.path.join(CORPUS, "zip", "plain.pt"), os.path.join(CORPUS, "zip", "deflated.pt"))
    torch.save({"w": numbers(4)}, os.path.join(CORPUS, "pickle", "legacy.pt"), _use_new_zipfile_serialization=False)
    for protocol in range(6):
        with open(os.path.join(CORPUS, "pickle", "protocol%d.pkl" % protocol), "wb") as out:
            pickle.dump({"a": [1, 2.5, "t", b"b", None, True, {3}, (4,)], 5: -(10 ** 12)}, out, protocol=protocol)
    write_safetensors(os.path.join(CORPUS, "safetensors", "two.safetensors"),
                      '{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
                      '"b":{"dtype":"F16","shape":[2,2],"data_offsets":[8,16]}}', bytes(16))
    with open(os.path.join(CORPUS, "safetensors", "header.json"), "w") as out:
        out.write('{"a":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]}}')


if __name__ == "__main__":
    sys.exit(main())
