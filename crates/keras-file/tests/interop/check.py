"""Loads what keras-file wrote with a real Keras, and compares every weight.

usage: KERAS_FILE_OUT=DIR cargo test -p keras-file -- --ignored write_files_for_keras; python check.py DIR
Run under TensorFlow 2.15.1 (Keras 2.15.0) and TensorFlow 2.21.0 (Keras 3.15.1); each loads the files that its format is for.
Replaced arrays: a model is loaded twice, from the original and from the result; the weights that differ must be as many as were
replaced and hold the values of tests/replace.rs, in the order of the arrays; all others must be bit-equal.
"""
import json, os, sys
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; os.environ['CUDA_VISIBLE_DEVICES'] = ''
import numpy as np, tensorflow as tf
keras = tf.keras; out = sys.argv[1]; here = os.path.dirname(os.path.abspath(__file__)); tests = os.path.dirname(here)
K3 = getattr(keras, '__version__', '2').startswith('3')

def loaded(path, model_of):
    """The model of a file, or that of `model_of` with the file's weights."""
    if path.endswith(('.keras', '.model.h5', 'model.h5')) and not path.endswith('weights.h5'): return keras.models.load_model(path, compile=False)
    model = keras.models.load_model(model_of, compile=False); model.load_weights(path); return model
def sibling(path):
    """A whole model beside a file of weights."""
    folder, name = os.path.split(path)
    for candidate in (name.split('.')[0] + '.keras', 'model.keras', name.split('.')[0] + '.model.h5'):
        if os.path.exists(os.path.join(folder, candidate)): return os.path.join(folder, candidate)

def check_replaced():
    for entry in json.load(open(os.path.join(out, 'replaced.json'))):
        original = os.path.join(tests, entry['original']); new = os.path.join(out, entry['file']); writer = entry['original']
        # Each its own: Keras 3 cannot import what Keras 2 calls its classes.
        if K3 != ('keras3' in writer): continue
        a, b = (loaded(p, sibling(original)).get_weights() for p in (original, new))
        assert len(a) == len(b); changed = [y for x, y in zip(a, b) if x.tobytes() != y.tobytes()]
        want = sorted((1000 + (k * 10000 + np.arange(int(np.prod(shape)))) / 8).astype('f4').reshape(shape).tobytes() for k, (_, shape) in enumerate(entry['replaced']))
        got = sorted(y.astype('f4').tobytes() for y in changed)
        assert got == want, (entry['file'], len(got), len(want))
        print('ok', entry['file'], '(%d of %d arrays replaced)' % (len(got), len(a)))
check_replaced()
