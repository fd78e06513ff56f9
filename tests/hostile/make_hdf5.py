"""Writes the HDF5 files in tests/hostile/files/malice, which no writer of this repository can: python make_hdf5.py

h5py 3 wrote the committed ones.
"""

from pathlib import Path

import h5py
import numpy as np

FOLDER = Path(__file__).parent / "files" / "malice"


def weights(name):
    """An otherwise right .weights.h5 of one LSTM with two units and one input."""
    file = h5py.File(FOLDER / name, "w", libver=("earliest", "v108"))
    cell(file, "lstm")
    return file


def cell(file, layer):
    variables = file.create_group(f"layers/{layer}/cell/vars")
    file.create_group(f"layers/{layer}/vars")
    for number, shape in enumerate([(1, 8), (2, 8), (8,)]):
        variables.create_dataset(str(number), data=np.full(shape, 0.5, "<f4"))


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)

    # Not Keras's, so that all of it is read.
    with h5py.File(FOLDER / "link_cycle.h5", "w", libver=("earliest", "v108")) as file:
        file.create_group("a/b/c")
        file["a/b/c/again"] = file["a"]

    with h5py.File(FOLDER / "deep_groups.h5", "w", libver=("v108", "v108")) as file:
        group = file
        for _ in range(300):
            group = group.create_group("g")

    with weights("huge_chunked.h5") as file:
        variables = file["layers/lstm/cell/vars"]
        del variables["0"]
        variables.create_dataset("0", shape=(1 << 30, 1 << 30), dtype="<f4", chunks=(1, 1024))

    with weights("shared_array.h5") as file:
        units = 1000
        first = file.create_dataset("big", data=np.zeros((units, 4 * units), "<f4"), chunks=(units, 4 * units), compression="gzip")
        bias = file.create_dataset("bias", data=np.zeros(4 * units, "<f4"))
        for number in range(1, 9):
            variables = file.create_group(f"layers/lstm_{number}/cell/vars")
            file.create_group(f"layers/lstm_{number}/vars")
            variables["0"], variables["1"], variables["2"] = first, first, bias
        del file["big"], file["bias"]

    with weights("deflated_zeros.h5") as file:
        variables = file["layers/lstm/cell/vars"]
        del variables["0"]
        # Chunks that were never written are zeros.
        variables.create_dataset("0", shape=(25_000_000 // 2, 8), dtype="<f4", chunks=(100_000, 8), compression="gzip")

    # Weight names that are one string of the global heap, 4,000 times.
    text = b"x" * 50_000
    with h5py.File(FOLDER / "attributes.h5", "w", libver=("earliest", "v108")) as file:
        group = file.create_group("lstm")
        file.attrs.create("layer_names", np.array([b"lstm"]))
        names = np.array([text.decode()] + ["y"] * 3_999, dtype=object)
        group.attrs.create("weight_names", names, dtype=h5py.string_dtype())
    path = FOLDER / "attributes.h5"
    data = bytearray(path.read_bytes())
    length = len(text).to_bytes(4, "little")
    at = next(i for i in range(len(data)) if data[i : i + 4] == length and data[i + 16 : i + 20] == b"\1\0\0\0")
    for number in range(1, 4_000):
        data[at + 16 * number : at + 16 * number + 16] = data[at : at + 16]
    path.write_bytes(data)


main()
