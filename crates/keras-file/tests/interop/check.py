"""Loads what keras-file wrote with a real Keras, and compares every weight.

usage: KERAS_FILE_OUT=DIR cargo test -p keras-file -- --ignored write_files_for_keras; python check.py DIR
Run under TensorFlow 2.15.1 (Keras 2.15.0) and TensorFlow 2.21.0 (Keras 3.15.1); each loads the files that its format is for.
Models that were written are compared with an evaluation of the layers in float64, saved again and loaded again.
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

# --- models that keras-file wrote: what Keras computes against a plain evaluation in float64 from the .npz beside them
def sigmoid(x): return 1 / (1 + np.exp(-x))
def lstm(x, w, name):
    k, r, b = (w['%s/%s' % (name, n)].astype('f8') for n in ('kernel', 'recurrent_kernel', 'bias')); u = r.shape[0]
    h = c = np.zeros((x.shape[0], u)); out = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ k + h @ r + b, 4, axis=1); c = sigmoid(f) * c + sigmoid(i) * np.tanh(g); h = sigmoid(o) * np.tanh(c); out.append(h)
    return np.stack(out, 1)
def dense(x, w, name): return x @ w[name + '/kernel'] + (w[name + '/bias'] if name + '/bias' in w else 0)
def projection(x, w, b='b', a='a', p='project'): return dense(lstm(dense(lstm(x, w, a), w, p), w, b), w, 'out')
def residual(x, w): y = lstm(x, w, 'a'); y = y + dense(lstm(y, w, 'b'), w, 'project'); return y + lstm(y, w, 'c')
def directions(x, w):
    f = lstm(x, w, 'f1'); f = f + lstm(f, w, 'f2'); b = dense(lstm(x[:, ::-1], w, 'b1'), w, 'b_project'); b = b + lstm(b, w, 'b2')
    return lstm(np.concatenate([f, b[:, ::-1]], 2), w, 'top')
SECOND = dict(a='a_1', b='b_1', p='project_1')
MODELS = dict(projection=[projection], residual=[residual], directions=[directions], two_chains=[residual, lambda x, w: projection(x, w, **SECOND)])

def check_written():
    rng = np.random.default_rng(0)
    for name, functions in MODELS.items():
        w = dict(np.load(os.path.join(out, 'written_%s.npz' % name))); xs = [rng.normal(size=(2, 7, 3)).astype('f4') for _ in functions]
        want = [f(x.astype('f8'), w) for f, x in zip(functions, xs)]
        for kind in ('any', '3' if K3 else '2'):
            path = os.path.join(out, 'written_%s.%s.keras' % (name, kind))
            if not os.path.exists(path): continue
            model = keras.models.load_model(path, compile=False); got = model(xs if len(xs) > 1 else xs[0]); got = got if isinstance(got, (list, tuple)) else [got]
            worst = max(float(np.abs(np.asarray(g) - e).max()) for g, e in zip(got, want)); assert worst < 1e-6, (path, worst)
            again = path + '.saved.keras'; model.save(again); twice = keras.models.load_model(again, compile=False)
            assert all(a.tobytes() == b.tobytes() for a, b in zip(model.get_weights(), twice.get_weights()))
            print('ok', os.path.basename(path), 'largest difference %.1e' % worst)
            # Weights alone, into the same model with all weights lost.
            # (The layers of both directions stand in another order in a model's list than in these files.)
            if len(functions) == 1 and name != 'directions':
                for ending in ('weights.h5', 'legacy.h5'):
                    if K3 and ending == 'legacy.h5': continue
                    fresh = keras.models.load_model(path, compile=False); fresh.set_weights([np.zeros_like(a) for a in fresh.get_weights()])
                    if ending == 'weights.h5' and name == 'residual': fresh = keras.Sequential([keras.Input((None, 3))] + [l for l in fresh.layers if l.get_weights()])
                    fresh.load_weights(os.path.join(out, 'written_%s.%s' % (name, ending)))
                    layers = {l.name: l.get_weights() for l in fresh.layers}
                    for l in model.layers:
                        if l.get_weights(): assert all(a.tobytes() == b.tobytes() for a, b in zip(l.get_weights(), layers[l.name])), (name, ending, l.name)
                    print('ok', 'written_%s.%s' % (name, ending))
check_written()
