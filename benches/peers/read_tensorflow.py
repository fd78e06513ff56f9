"""What an engineer writes in place of `gatewise inspect`: loads a checkpoint, reads every tensor, and hashes each.

usage: python read_tensorflow.py CHECKPOINT [--no-hash]

Prints the SHA-256 of each tensor's bytes and the seconds of each phase. TensorFlow verifies the stored CRC-32C of a tensor when it
reads it, as `gatewise inspect` does; the hashes are a phase of their own, as reading needs none.
"""
import time

started = time.perf_counter()
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
import argparse
import hashlib

import numpy as np
import tensorflow as tf

imported = time.perf_counter()


def sha256(tensor):
    if tensor.dtype == object:  # Strings.
        return hashlib.sha256(b''.join(tensor.ravel())).hexdigest()
    return hashlib.sha256(np.ascontiguousarray(tensor)).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint')
    parser.add_argument('--no-hash', action='store_true')
    options = parser.parse_args()

    clock = [('import', imported - started)]
    mark = time.perf_counter()
    reader = tf.train.load_checkpoint(options.checkpoint)
    names = sorted(reader.get_variable_to_shape_map())
    clock.append(('load', time.perf_counter() - mark))

    mark = time.perf_counter()
    tensors = {name: np.asarray(reader.get_tensor(name)) for name in names}
    clock.append(('read', time.perf_counter() - mark))

    if not options.no_hash:
        mark = time.perf_counter()
        hashes = {name: sha256(tensor) for name, tensor in tensors.items()}
        clock.append(('hash', time.perf_counter() - mark))
        for name, digest in hashes.items():
            print(f'{digest}  {name}')
    size = sum(tensor.nbytes for tensor in tensors.values())
    print(f'{len(tensors)} tensors, {size} bytes')
    for name, seconds in clock:
        print(f'phase {name}: {seconds:.4f} s')


if __name__ == '__main__':
    main()
