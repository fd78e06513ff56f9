"""Loads converted Keras files with a real Keras, runs them, and compares with what that Keras computed before.

usage: python check_converted.py CONVERTED_DIR GOLDEN_DIR

CONVERTED_DIR/CASE/ holds any of legacy.h5, model.weights.h5 and model.keras; GOLDEN_DIR/CASE/ is the golden case of the same
name. A folder called A+B holds one model.keras with a branch for each of these cases, in that order. A weights file is loaded into a model built here from the golden configuration; a .keras file brings its own. The
model runs the golden x, and its output must agree with y_keras.npz of this generation of Keras within 1e-6. That y was computed
as model(x), without a mask, also in the cases with ragged sequences, and so is ours.

Exits with 1 on any difference, any file that does not load, or when nothing was compared.
"""
import json, os, sys, zipfile
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
import numpy as np
import tensorflow as tf

keras = tf.keras
VERSION = getattr(keras, '__version__', tf.__version__)
GENERATION = 'keras3' if VERSION.startswith('3') else 'keras2'
# .weights.h5 and .keras came with Keras 2.12; TensorFlow 2.2 has only the legacy file.
NEW_FORMATS = tuple(int(n) for n in tf.__version__.split('.')[:2]) >= (2, 12)
FILES = ['legacy.h5'] + (['model.weights.h5', 'model.keras'] if NEW_FORMATS else [])
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


def load_weights(case, x, path):
    model = build(case)
    model(x)
    before = model.get_weights()
    model.load_weights(path)
    # A bias may equal its initial value; a random kernel cannot.
    if any(np.array_equal(b, a) for b, a in zip(before, model.get_weights()) if b.ndim == 2):
        raise ValueError('load_weights left a kernel as it was')
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
    print('%-24s %-18s %-12s %s' % ('case', 'file', 'max |diff|', 'result'))
    for name in sorted(os.listdir(converted)):
        cases = [os.path.join(golden, case) for case in name.split('+')]
        if not all(os.path.exists(os.path.join(case, GENERATION, 'y_keras.npz')) for case in cases):
            print('%-24s %-18s %-12s %s' % (name, '-', '-', 'no golden output of this Keras'))
            continue
        for file in FILES if len(cases) == 1 else FILES[2:]:
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
            print('%-24s %-18s %-12s %s' % (name, file, shown, result))
            keras.backend.clear_session()
    print('%d files compared, %d failed, largest difference %.3g' % (compared, failed, worst))
    if compared == 0:
        print('nothing compared: is CONVERTED_DIR right?')
    sys.exit(1 if failed or not compared else 0)


if __name__ == '__main__':
    main()
