"""Writes first inputs for every fuzz target, from golden data: python fuzz/make_seeds.py

What fuzzing found worth keeping lies beside them, and stays.
"""

import base64
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
KERAS = ROOT / "crates" / "keras-file" / "tests" / "models"
CHECKPOINTS = ROOT / "crates" / "tf-checkpoint" / "tests"
CORPUS = ROOT / "fuzz" / "corpus"

# Small inputs are tried more often, and a few of each kind are enough.
LARGEST = 20_000
MOST = 12
# Contents by name, by target.
SEEDS = {}


def put(target, name, content):
    if len(content) <= LARGEST:
        SEEDS.setdefault(target, {})[name] = content


def write():
    """The smallest of each kind, each size once."""
    for target, seeds in SEEDS.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        by_size = {}
        for name, content in sorted(seeds.items()):
            by_size.setdefault(len(content), (name, content))
        sizes = sorted(by_size)
        for size in sizes[:: max(1, -(-len(sizes) // MOST))]:
            name, content = by_size[size]
            (folder / name).write_bytes(content)


def named(path):
    return str(path.relative_to(ROOT)).replace("/", "-")


def main():
    for index in sorted([*GOLDEN.rglob("*.index"), *CHECKPOINTS.rglob("*.index")]):
        content = index.read_bytes()
        put("table", named(index), content)
        data = list(index.parent.glob(index.stem + ".data-00000-of-00001"))
        if data:
            put("bundle", named(index), len(content).to_bytes(4, "little") + content + data[0].read_bytes())
    for file in sorted(GOLDEN.rglob("model.ckpt")):
        if file.is_file():
            put("saved_slices", named(file), file.read_bytes())
            put("table", named(file), file.read_bytes())
    for file in sorted(GOLDEN.rglob("*.meta")):
        put("meta_graph", named(file), file.read_bytes())
    for file in sorted([*GOLDEN.rglob("*.pb"), *CHECKPOINTS.rglob("*.pb")]):
        put("frozen_graph", named(file), file.read_bytes())
    for file in sorted(GOLDEN.rglob("checkpoint")):
        if file.is_file():
            put("state_file", named(file), file.read_bytes())
    for folder in [GOLDEN, KERAS]:
        for ending, target in [("h5", "hdf5"), ("keras", "archive"), ("npz", "archive"), ("safetensors", "safetensors")]:
            for file in sorted(folder.rglob("*." + ending)):
                put(target, named(file), file.read_bytes())
    for index in sorted([*GOLDEN.rglob("*.index"), *CHECKPOINTS.rglob("*.index")]):
        data = next(index.parent.glob(index.stem + ".data-00000-of-00001"), None)
        graph = object_graph(data.read_bytes()) if data else None
        if graph:
            put("object_graph", named(index), graph)
    put("map_file", "cells", MAP_OF_CELLS)
    put("map_file", "names", MAP_OF_NAMES)
    put("suite_file", "every_key", SUITE)
    put("suite_file", "defaults", SUITE_OF_DEFAULTS)
    plain, signed = certificates()
    put("certificate", "plain", plain)
    put("certificate", "signed", signed)
    write()


def object_graph(data):
    """The message in the one string tensor of a small checkpoint: it begins with a node, which has children."""
    at = data.find(b"\x0a\x1b\x08")
    root = data.find(b"VARIABLE_VALUE")
    if root < 0:
        return None
    for start in range(min(len(data), 200)):
        length, end, shift = 0, start, 0
        while end < len(data):
            length |= (data[end] & 127) << shift
            shift, end = shift + 7, end + 1
            if not data[end - 1] & 128:
                break
        if length > 100 and data[end + 4 : end + 5] == b"\x0a" and end + 4 + length <= len(data):
            return data[end + 4 : end + 4 + length]
    return None


MAP_OF_CELLS = b"""[[lstm]]
name = "a"
keras = "bidirectional/forward"
cell = "LSTMCell"
network = "n"
layer = 0
direction = "forward"
residual = true
merge = "concat"
kernel = ["W_0", "W_1"]
bias = "B"
projection = "P"
forget_bias = 1.0
activation = "tanh"
cell_clip = 3.0
projection_clip = 2.5
peepholes = { input = "i", forget = "f", output = "o" }
extra = { gamma = "g" }
"""
MAP_OF_NAMES = b"""[[lstm]]
name = "rnn/lstm_cell"
keras = "lstm"

[[layer]]
keras = "dense"
kernel = "output/kernel"
bias = "output/bias"
"""
SUITE = b"""[defaults]
keras = 2
expect = "fail"
fault = "bias-missing"
override = true

[[case]]
name = "a"
checkpoint = ["x/*", "y"]
candidate = "{checkpoint}/z?.h5"
exclude = ["x/[ab]", "x/**"]
expect = "error"
says = "no"
lstm = ["p", "q"]
map = "m.toml"
forget_bias = 0.5
activation = "relu"
recurrent_activation = "sigmoid"
input_size = 3
weights = "ema"
device = "cpu"
sequences = 1_6
timesteps = 12
seed = 7
atol = 1e-6
rtol = 1.0e-5
"""
SUITE_OF_DEFAULTS = b"""[defaults]
sequences = 8
[[case]]
name = "b"
checkpoint = 'c'
inputs = "r.npz"
[[case]]
name = "d"
checkpoint = "e"
keras = "3"
"""

# The first key of RFC 8032, section 7.1: everybody knows it.
PRIVATE_KEY = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
"""
KEY_ID = "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9"


def pretty(value):
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def certificates():
    """A small certificate, plain and signed."""
    files = [("checkpoint", "a", "1"), ("candidate", "b", "2"), ("map", "c", "3")]
    tensor = {"name": "kernel", "dtype": "float32", "shape": [2, 4], "sha256": "ab" * 32}
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": path, "digest": {"sha256": digit * 64}} for _, path, digit in files[:2]],
        "predicateType": "urn:gatewise:numeric-equivalence:v1",
        "predicate": {
            "schema": "gatewise.certificate/1",
            "verdict": "pass",
            "made_by": {"gatewise": "1", "burn": "2", "platform": "x86_64 linux"},
            "created": "2026-11-25T22:30:00Z",
            "arguments": ["verify", "--seed=0"],
            "files": [{"role": r, "path": p, "bytes": 7, "sha256": d * 64} for r, p, d in files],
            "lstms": [{"lstm": "rnn", "layer": "lstm", "variables": [tensor], "weights": [tensor]}],
            "verification": {
                "schema": "gatewise.verify/1",
                "verdict": "pass",
                "settings": {"seed": 0, "lambda": 6.0},
                "lstms": [{"name": "rnn", "candidate": "lstm", "weights": {"equal": True}, "compared": 8}],
                "reasons": [],
            },
        },
    }
    payload = pretty(statement)
    statement["predicate"]["certificate_sha256"] = ""
    plain = pretty(statement)
    end = b'"\n  }\n}\n'
    plain = plain.removesuffix(end) + hashlib.sha256(plain).hexdigest().encode() + end
    payload_type = "application/vnd.in-toto+json"
    with tempfile.TemporaryDirectory() as folder:
        key, message = Path(folder) / "key.pem", Path(folder) / "message"
        key.write_text(PRIVATE_KEY)
        message.write_bytes(f"DSSEv1 {len(payload_type)} {payload_type} {len(payload)} ".encode() + payload)
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", message]
        signature = subprocess.run(command, check=True, capture_output=True).stdout
    encoded = [base64.b64encode(part).decode() for part in (payload, signature)]
    signed = {"payload": encoded[0], "payloadType": payload_type, "signatures": [{"keyid": KEY_ID, "sig": encoded[1]}]}
    return plain, pretty(signed)


main()
