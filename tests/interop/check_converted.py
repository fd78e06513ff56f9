"""Loads converted Keras files with a real Keras, runs them, and compares with what that Keras computed before.

usage: python check_converted.py CONVERTED_DIR GOLDEN_DIR

CONVERTED_DIR/CASE/ holds any of legacy.h5, model.weights.h5, model.keras, weights.npz and weights.safetensors; GOLDEN_DIR/CASE/
is the golden case of the same name. A folder called A+B holds one model.keras with a branch for each of these cases, in that
order. A weights file is loaded into a model built here from the golden configuration; a .keras file brings its own. Keras itself
reads no .npz or .safetensors: numpy and the safetensors library (or, without it, ten lines here) do, and set_weights takes what they read. The
model runs the golden x, and its output must agree with y_keras.npz of this generation of Keras within 1e-6. That y was computed
as model(x), without a mask, also in the cases with ragged sequences, and so is ours.

Exits with 1 on any difference, any file that does not load, or when nothing was compared.
"""
import json, os, struct, sys, zipfile
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
import numpy as np
import tensorflow as tf

keras = tf.keras
VERSION = getattr(keras, '__version__', tf.__version__)
GENERATION = 'keras3' if VERSION.startswith('3') else 'keras2'
# .weights.h5 and .keras came with Keras 2.12; TensorFlow 2.2 has only the legacy file.
NEW_FORMATS = tuple(int(n) for n in tf.__version__.split('.')[:2]) >= (2, 12)
MODEL_FILES = ['model.keras'] if NEW_FORMATS else []
FILES = ['legacy.h5'] + (['model.weights.h5'] if NEW_FORMATS else []) + MODEL_FILES + ['weights.npz', 'weights.safetensors']
TOLERANCE = 1e-6


def golden_config(case):
    """Layers of the golden model, from the JSON of Keras 2 or 3."""
    for generation in ('keras2', 'keras3'):
        path = os.path.join(case, generation, 'model.keras')
        if os.path.exists(path):
            with zipfile.ZipFile(path) as archive:
                layers = json.loads(archive.read('config.json').decode())['config']['layers']
            return [layer for layer in layers if layer['class_name'] != 'InputLayer']
    raise FileNotFoundError('no golden model.keras under ' + case)


def lstm(config):
    keep = ('units', 'activation', 'recurrent_activation', 'use_bias', 'go_backwards')
    return keras.layers.LSTM(return_sequences=True, **{k: config[k] for k in keep})


def build(case):
    """A fresh model with random weights, layered like the golden one; built by its first call."""
    layers = []
    for layer in golden_config(case):
        config = layer['config']
        if layer['class_name'] == 'Bidirectional':
            layers.append(keras.layers.Bidirectional(
                lstm(config['layer']['config']), backward_layer=lstm(config['backward_layer']['config']), merge_mode=config['merge_mode']))
        else:
            layers.append(lstm(config))
    return keras.Sequential(layers)


def read_npz(path):
    with np.load(path) as arrays:  # refuses pickles
        return [(name, arrays[name]) for name in arrays.files]


def read_safetensors(path):
    with open(path, 'rb') as file:
        header = json.loads(file.read(struct.unpack('<Q', file.read(8))[0]).decode())
        data = file.read()
    if header.pop('__metadata__') != {'format': 'keras-lstm'}:
        raise ValueError('unexpected metadata')
    names = sorted(header, key=lambda name: header[name]['data_offsets'])
    try:
        from safetensors.numpy import load_file
        arrays = load_file(path)
    except ImportError:
        arrays = {n: np.frombuffer(data[slice(*header[n]['data_offsets'])], {'F32': '<f4'}[header[n]['dtype']]).reshape(header[n]['shape'])
                  for n in names}
    if sorted(arrays) != sorted(names):
        raise ValueError('the library finds %s' % sorted(arrays))
    return [(name, arrays[name]) for name in names]


def in_keras_order(arrays):
    """Arrays as set_weights wants them: layers in the order of the file, then by what their names say."""
    layers = []
    for name, _ in arrays:
        if name.split('/')[0] not in layers:
            layers.append(name.split('/')[0])
    order = ['kernel', 'recurrent_kernel', 'bias']
    order = order + [direction + name for direction in ('forward_layer/', 'backward_layer/') for name in order]
    key = lambda name: (layers.index(name.split('/')[0]), order.index(name.split('/', 1)[1]))
    return [array for _, array in sorted(arrays, key=lambda item: key(item[0]))]


def load_weights(case, x, path):
    model = build(case)
    model(x)
    before = model.get_weights()
    if path.endswith('.npz'):
        model.set_weights(in_keras_order(read_npz(path)))
    elif path.endswith('.safetensors'):
        model.set_weights(in_keras_order(read_safetensors(path)))
    else:
        model.load_weights(path)
    # A bias may equal its initial value; a random kernel cannot.
    if any(np.array_equal(b, a) for b, a in zip(before, model.get_weights()) if b.ndim == 2):
        raise ValueError('loading left a kernel as it was')
    return model


def compare(path, cases):
    """Largest difference between the loaded model's outputs and the golden ones."""
    xs = [np.load(os.path.join(case, 'io.npz'))['x'].astype('float32') for case in cases]
    expected = [np.load(os.path.join(case, GENERATION, 'y_keras.npz'))['y'] for case in cases]
    if len(cases) == 1:
        model = keras.models.load_model(path) if path.endswith('.keras') else load_weights(cases[0], xs[0], path)
        actual = [model(xs[0])]
    else:
        actual = keras.models.load_model(path)(xs)
    if len(actual) != len(expected):
        raise ValueError('%d outputs, expected %d' % (len(actual), len(expected)))
    worst = 0.0
    for a, e in zip(map(np.asarray, actual), expected):
        if a.shape != e.shape or a.size == 0:
            raise ValueError('output of shape %s, expected %s' % (a.shape, e.shape))
        worst = max(worst, float(np.abs(a - e).max()), key=lambda d: (d != d, d))  # NaN is the worst
    return worst


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    converted, golden = sys.argv[1:]
    compared, failed, worst = 0, 0, 0.0
    print('Keras %s, TensorFlow %s' % (VERSION, tf.__version__))
    print('%-24s %-20s %-12s %s' % ('case', 'file', 'max |diff|', 'result'))
    for name in sorted(os.listdir(converted)):
        cases = [os.path.join(golden, case) for case in name.split('+')]
        if not all(os.path.exists(os.path.join(case, GENERATION, 'y_keras.npz')) for case in cases):
            print('%-24s %-20s %-12s %s' % (name, '-', '-', 'no golden output of this Keras'))
            continue
        for file in FILES if len(cases) == 1 else MODEL_FILES:
            path = os.path.join(converted, name, file)
            if not os.path.exists(path):
                continue
            compared += 1
            try:
                difference = compare(path, cases)
                # Written so that a NaN fails.
                ok = difference <= TOLERANCE
                shown, result = '%.3g' % difference, 'ok' if ok else 'DIFFERS'
                worst = max(worst, difference, key=lambda d: (d != d, d))
            except Exception as error:  # whatever Keras raises is a result, and the other files still count
                ok, shown, result = False, '-', 'FAILED: %s: %s' % (type(error).__name__, str(error).strip().split('\n')[0][:200])
            failed += not ok
            print('%-24s %-20s %-12s %s' % (name, file, shown, result))
            keras.backend.clear_session()
    print('%d files compared, %d failed, largest difference %.3g' % (compared, failed, worst))
    if compared == 0:
        print('nothing compared: is CONVERTED_DIR right?')
    sys.exit(1 if failed or not compared else 0)


if __name__ == '__main__':
    main()
