"""Writes first inputs for every fuzz target, from golden data: python fuzz/make_seeds.py"""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
KERAS = ROOT / "crates" / "keras-file" / "tests" / "models"
CHECKPOINTS = ROOT / "crates" / "tf-checkpoint" / "tests"
CORPUS = ROOT / "fuzz" / "corpus"

# Small inputs are tried more often, and a few of each kind are enough.
LARGEST = 20_000
MOST = 12


def put(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    if len(content) <= LARGEST:
        (folder / name).write_bytes(content)


def thin_out():
    """Keeps the smallest files of each folder, each size once."""
    for folder in CORPUS.iterdir():
        by_size = {}
        for file in sorted(folder.iterdir()):
            by_size.setdefault(file.stat().st_size, []).append(file)
        sizes = sorted(by_size)
        kept = {by_size[size][0] for size in sizes[:: max(1, -(-len(sizes) // MOST))]}
        for file in set(folder.iterdir()) - kept:
            file.unlink()


def named(path):
    return str(path.relative_to(ROOT)).replace("/", "-")


def main():
    shutil.rmtree(CORPUS, ignore_errors=True)
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
    thin_out()


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

main()
