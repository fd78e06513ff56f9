"""Writes the models of tests/models.rs with a real Keras: nested, shared out over branches, subclassed, and not only LSTMs.

usage: python make_models.py OUT_DIR
Run under TensorFlow 1.15.5, 2.2.3, 2.15.1 and 2.21.0 (Keras 3.15.1) with OUT_DIR tf1, tf2.2, keras2 and keras3. Also writes
expected.json: for each model the LSTM layers in the order data flows, and the sums of their kernels.
"""
import json, os, sys
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; os.environ['CUDA_VISIBLE_DEVICES'] = ''
import numpy as np, tensorflow as tf
keras = tf.keras; L = keras.layers; I = keras.Input; out = sys.argv[1]; os.makedirs(out, exist_ok=True)
K3 = getattr(keras, '__version__', '2').startswith('3'); NEW = tuple(map(int, tf.__version__.split('.')[:2])) >= (2, 12); expected = {}

def kernels(layer):
    if isinstance(layer, L.Bidirectional): return kernels(layer.forward_layer) + kernels(layer.backward_layer)
    return [float(layer.get_weights()[0].astype('f8').sum())]
def save(name, model, lstms):
    if not isinstance(model, Sub):
        model.save(os.path.join(out, name + '.model.h5'), **({} if NEW else dict(save_format='h5')))
        if NEW: model.save(os.path.join(out, name + '.keras'))
    if NEW: model.save_weights(os.path.join(out, name + '.weights.h5'))
    if not K3: model.save_weights(os.path.join(out, name + '.legacy.h5'))
    expected[name] = [dict(name=l.name, kernel_sums=kernels(l)) for l in lstms]
def lstm(u, **k): return L.LSTM(u, return_sequences=True, **k)

class Sub(keras.Model):  # layers as attributes and in a list
    def __init__(self):
        super(Sub, self).__init__(); self.enc = lstm(3); self.many = [lstm(2), lstm(2)]; self.dec = L.Bidirectional(lstm(2))
    def call(self, x):
        x = self.enc(x)
        for l in self.many: x = l(x)
        return self.dec(x)

x = I((None, 4)); a, b, c = lstm(3, name='in_a'), L.Bidirectional(lstm(2), name='in_b'), lstm(6)
nest = keras.Sequential([a, L.Dense(5), b], name='nest'); y = c(nest(x)); save('nested', keras.Model(x, L.Dense(2)(L.GRU(3)(y))), [a, b, c])
x = I((None, 4)); a = L.RNN(L.LSTMCell(2), return_sequences=True); b = L.Bidirectional(L.RNN(L.LSTMCell(3, recurrent_activation='hard_sigmoid'), return_sequences=True))
save('rnn', keras.Model(x, b(a(x))), [a, b])
x = I((None, 4)); a = L.LSTM(3); save('stacked_cells', keras.Model(x, a(L.RNN([L.LSTMCell(2), L.LSTMCell(3)], return_sequences=True)(x))), [a])
x = y = I((None, 3)); ls = [lstm(2) for _ in range(12)]
for l in ls: y = l(y)
save('twelve', keras.Model(x, y), ls)
x, z = I((None, 4), name='qa'), I((None, 4), name='qb'); a, b, c, d, e = [lstm(4, name=n) for n in ('a1', 'a2', 'b1', 'b2', 'top')]
save('branches', keras.Model([x, z], [b(a(x)), e(d(c(z)))]), [a, b, c, d, e])
if NEW:
    s = Sub(); s(np.zeros((1, 2, 4), 'f4')); save('sub', s, [s.enc] + list(s.many) + [s.dec])
    for kind in ('float64', 'float16'):
        x = I((None, 4)); a = L.LSTM(3, dtype=kind); save(kind, keras.Model(x, a(x)), [a])
    if not K3: x = I((None, 4)); save('cudnn', keras.Model(x, tf.compat.v1.keras.layers.CuDNNLSTM(3)(x)), [])
json.dump(expected, open(os.path.join(out, 'expected.json'), 'w'), indent=1, sort_keys=True)
