"""Writes the files of tests/old.rs: CuDNNLSTM and Keras 1 layers, and what Keras 2 makes of them.

usage: python make_old.py OUT_DIR
Run under TensorFlow 2.15.1 (Keras 2.15.0). The CuDNNLSTM files are saved by Keras, those of Keras 1 laid out
as Keras 1.2.2 does it (make_keras1.py has some of its own). For each file expected.npz has,
under '<file>/<layer>/<number>', what load_weights of an LSTM model of Keras 2 puts into each layer: get_weights() of its LSTMs.
"""
import json, os, sys
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; os.environ['CUDA_VISIBLE_DEVICES'] = ''
import h5py, numpy as np, tensorflow as tf
keras = tf.keras; L = keras.layers; out = sys.argv[1]; os.makedirs(out, exist_ok=True)
Cudnn = tf.compat.v1.keras.layers.CuDNNLSTM; expected = {}; rng = np.random.default_rng(7)
def path(name): return os.path.join(out, name)
def random(*shape): return rng.normal(size=shape).astype('f4')

def oracle(file, layers, width, source):
    """What Keras 2 loads from the legacy weights `source` into `layers`."""
    model = keras.Sequential([keras.Input((None, width))] + layers); model.load_weights(source)
    for layer in layers:
        for i, a in enumerate(layer.get_weights()): expected['%s/%s/%d' % (file, layer.name, i)] = a

def cudnn(name, make, width):
    keras.backend.clear_session(); layers = make(Cudnn); model = keras.Sequential([keras.Input((None, width))] + layers)
    model.set_weights([random(*w.shape) for w in model.get_weights()])
    for ending in ('model.h5', 'keras'): model.save(path('%s.%s' % (name, ending)))
    model.save_weights(path(name + '.weights.h5')); model.save_weights(path(name + '.legacy.h5'))
    for ending in ('model.h5', 'keras', 'weights.h5', 'legacy.h5'): oracle('%s.%s' % (name, ending), make(L.LSTM), width, path(name + '.legacy.h5'))
cudnn('cudnn_stack', lambda c: [c(3, return_sequences=True, name='a'), c(5, name='b')], 4)
cudnn('cudnn_both_ways', lambda c: [L.Bidirectional(c(3, return_sequences=True), name='bi'), c(2, name='last')], 4)

def per_gate(n, u, name):
    return [('%s_%s_%s' % (name, kind, gate), random(*shape)) for gate in 'icfo' for kind, shape in (('W', (n, u)), ('U', (u, u)), ('b', (u,)))]
def joined(n, u, name): return [(name + '_W', random(n, 4 * u)), (name + '_U', random(u, 4 * u)), (name + '_b', random(4 * u))]
def dense(n, m, name): return [(name + '_W', random(n, m)), (name + '_b', random(m))]
def keras1(file, layers, suffix='', config=None):
    with h5py.File(path(file), 'w') as f:
        g = f
        if config: f.attrs['keras_version'] = b'1.2.2'; f.attrs['model_config'] = json.dumps(config).encode(); g = f.create_group('model_weights')
        g.attrs['layer_names'] = [name.encode() for name, _ in layers]
        for name, weights in layers:
            group = g.create_group(name); group.attrs['weight_names'] = [(n + suffix).encode() for n, _ in weights]
            for n, a in weights: group.create_dataset(n + suffix, data=a)
def config1(units, **more):
    c = dict(name='lstm_1', trainable=True, output_dim=units, init='glorot_uniform', inner_init='orthogonal', forget_bias_init='one', activation='tanh', inner_activation='hard_sigmoid',
             W_regularizer=None, U_regularizer=None, b_regularizer=None, dropout_W=0.0, dropout_U=0.0, input_dim=4, input_length=None,
             return_sequences=True, go_backwards=False, stateful=False, unroll=False, consume_less='cpu'); c.update(more); return c
lstm = lambda name, u, **k: L.LSTM(u, return_sequences=True, name=name, **k)
keras1('keras1.legacy.h5', [('lstm_1', per_gate(4, 3, 'lstm_1')), ('dropout_1', []), ('lstm_2', per_gate(3, 2, 'lstm_2')), ('dense_1', dense(2, 2, 'dense_1'))], ':0')
oracle('keras1.legacy.h5', [lstm('lstm_1', 3), lstm('lstm_2', 2), L.Dense(2, name='dense_1')], 4, path('keras1.legacy.h5'))
keras1('keras1_theano.legacy.h5', [('lstm_1', per_gate(4, 3, 'lstm_1'))]); oracle('keras1_theano.legacy.h5', [lstm('lstm_1', 3)], 4, path('keras1_theano.legacy.h5'))
keras1('keras1_gpu.legacy.h5', [('lstm_1', joined(4, 3, 'lstm_1'))], ':0'); oracle('keras1_gpu.legacy.h5', [lstm('lstm_1', 3)], 4, path('keras1_gpu.legacy.h5'))
both = [('bidirectional_1', per_gate(4, 3, 'forward_lstm_1') + per_gate(4, 3, 'backward_lstm_1'))]
keras1('keras1_both_ways.legacy.h5', both, ':0'); oracle('keras1_both_ways.legacy.h5', [L.Bidirectional(lstm('x', 3), name='bidirectional_1')], 4, path('keras1_both_ways.legacy.h5'))
# Whole models: a Sequential's configuration is a bare list of layers.
first = dict(class_name='LSTM', config=config1(3, batch_input_shape=[None, None, 4], input_dtype='float32'))
keras1('keras1.model.h5', [('lstm_1', per_gate(4, 3, 'lstm_1'))], ':0', dict(class_name='Sequential', config=[first]))
wrapped = dict(class_name='Bidirectional', config=dict(name='bidirectional_1', trainable=True, merge_mode='sum', batch_input_shape=[None, None, 4], input_dtype='float32', layer=dict(class_name='LSTM', config=config1(3, inner_activation='sigmoid'))))
keras1('keras1_both_ways.model.h5', both, ':0', dict(class_name='Sequential', config=[wrapped]))
def by_group(file, model, width):  # load_weights of a full model takes its group
    model = keras.Sequential([keras.Input((None, width))] + model); model.load_weights(path(file))
    for l in model.layers:
        for i, a in enumerate(l.get_weights()): expected['%s/%s/%d' % (file, l.name, i)] = a
by_group('keras1.model.h5', [lstm('lstm_1', 3)], 4); by_group('keras1_both_ways.model.h5', [L.Bidirectional(lstm('x', 3), name='bidirectional_1', merge_mode='sum')], 4)
# Every layer as Keras 2 sees the file, by number of array.
np.savez(path('expected.npz'), **expected)

# Files that hold the same LSTM in ways in which nothing can be replaced.
def one(file, **how):
    with h5py.File(path(file), 'w') as f:
        f.attrs['keras_version'] = b'2.15.0'; f.attrs['backend'] = b'tensorflow'; names = ['lstm', 'other'] if how.get('linked') else ['lstm']; f.attrs['layer_names'] = [n.encode() for n in names]
        g = f.create_group('lstm'); g.attrs['weight_names'] = [b'kernel:0', b'recurrent_kernel:0', b'bias:0']
        more = {k: v for k, v in how.items() if k != 'linked'}
        for n, shape in (('kernel:0', (4, 12)), ('recurrent_kernel:0', (3, 12)), ('bias:0', (12,))): g.create_dataset(n, data=random(*shape), **more)
        if how.get('linked'): f['other'] = g  # a hard link
one('chunked.legacy.h5', chunks=True); one('compressed.legacy.h5', compression='gzip', shuffle=True); one('linked.legacy.h5', linked=True)
import zipfile
keras.backend.clear_session(); keras.Sequential([keras.Input((None, 4)), L.LSTM(3, name='lstm')]).save(path('deflated.keras'))
with zipfile.ZipFile(path('deflated.keras')) as z: members = [(n, z.read(n)) for n in z.namelist()]
with zipfile.ZipFile(path('deflated.keras'), 'w', zipfile.ZIP_DEFLATED) as z:
    for n, c in members: z.writestr(n, c)
# Not Keras at all: names of TensorFlow, several types, a scalar, text, and a group that contains itself.
with h5py.File(path('foreign.hdf5'), 'w') as f:
    f['RNN_0/Cell0/W_0'] = random(3, 8); f['RNN_0/Cell0/B'] = random(8).astype('f8'); f['half'] = np.arange(4, dtype='f2'); f['big'] = np.arange(4, dtype='>f4')
    f['steps'] = np.int64(-7); f['text'] = 'left out'; f['gz'] = f.create_dataset('packed', data=np.arange(6, dtype='u1').reshape(2, 3), compression='gzip')
with h5py.File(path('circle.hdf5'), 'w') as f: f['a/x'] = random(2); f['a/again'] = f['a']
