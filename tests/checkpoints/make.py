"""Writes the small checkpoints that the tests of odd weights and wirings run on, with a real TensorFlow 1.15.

usage: python make.py OUT_DIR     (Python 3.7, tensorflow==1.15.5, protobuf<3.21, h5py<3, numpy<1.19)
"""
import os
import sys

import numpy as np
import tensorflow as tf

RNG = np.random.RandomState(0)


def save(name):
    with tf.compat.v1.Session() as session:
        session.run(tf.compat.v1.global_variables_initializer())
        os.makedirs(os.path.join(sys.argv[1], name), exist_ok=True)
        prefix = os.path.join(sys.argv[1], name, 'model.ckpt')
        tf.compat.v1.train.Saver().save(session, prefix, write_meta_graph=False, write_state=False)


CASES = {
    # 400 columns mean 100 units, and 100 rows leave no room for an input.
    'no_room_for_input': (RNG.normal(size=(100, 400)), RNG.normal(size=400)),
    # Nothing can show on weights that are all zero.
    'dead_weights': (np.zeros((13, 32)), np.zeros(32)),
    # One weight is not a number.
    'not_a_number': (np.where(np.arange(13 * 32).reshape(13, 32) == 77, np.nan, RNG.normal(size=(13, 32))), np.zeros(32)),
    # What no LSTM's weights are: quantised ones, say.
    'whole_numbers': (np.arange(3 * 8).reshape(3, 8), np.zeros(8), 'i4'),
    # One weight that float32 cannot hold.
    'beyond_float32': (np.where(np.arange(3 * 8).reshape(3, 8) == 7, 1e300, 0.5), np.zeros(8), 'f8'),
    # A kernel for each of two steps, under a name that promises a matrix.
    'three_axes': (RNG.normal(size=(2, 3, 8)), np.zeros(8)),
}
for name, (kernel, bias, *dtype) in CASES.items():
    dtype = dtype[0] if dtype else 'f4'
    with tf.Graph().as_default(), tf.compat.v1.variable_scope('lstm/basic_lstm_cell'):
        tf.compat.v1.get_variable('kernel', initializer=kernel.astype(dtype))
        tf.compat.v1.get_variable('bias', initializer=bias.astype(dtype))
        save(name)

# Two stacks of cells that project: a Keras model of both lists the first layers of both before the second ones.
NEW = np.random.RandomState(1)
with tf.Graph().as_default():
    for stack in 'ab':
        for cell in range(2):
            with tf.compat.v1.variable_scope('%s/rnn/multi_rnn_cell/cell_%d/lstm_cell' % (stack, cell)):
                for variable, shape in (('kernel', (6, 16)), ('bias', (16,)), ('projection/kernel', (4, 3))):
                    tf.compat.v1.get_variable(variable, initializer=(NEW.normal(size=shape) * 0.4).astype('f4'))
    save('two_projected_stacks')

# Cells inside wrappers that compute something besides.
rnn, seq2seq = tf.contrib.rnn, tf.contrib.seq2seq
with tf.Graph().as_default():
    tf.compat.v1.set_random_seed(0)
    x = tf.compat.v1.placeholder(tf.float32, [2, 3, 5], name='x')
    symbols = tf.compat.v1.placeholder(tf.int32, [2, 3, 1], name='symbols')
    memory = tf.compat.v1.placeholder(tf.float32, [2, 4, 6], name='memory')
    cell = rnn.BasicLSTMCell
    for scope, make, read in (
        ('attention', lambda: rnn.AttentionCellWrapper(cell(4), attn_length=3, state_is_tuple=True), x),
        ('luong', lambda: seq2seq.AttentionWrapper(cell(4), seq2seq.LuongAttention(4, memory), attention_layer_size=8), x),
        ('highway', lambda: rnn.HighwayWrapper(cell(5)), x),
        ('before', lambda: rnn.InputProjectionWrapper(cell(4), 7), x),
        ('after', lambda: rnn.OutputProjectionWrapper(cell(4), 7), x),
        ('words', lambda: rnn.EmbeddingWrapper(cell(4), 11, 6), symbols),
        ('plain', lambda: cell(4), x),
        ('nas', lambda: rnn.NASCell(4), x),
    ):
        with tf.compat.v1.variable_scope(scope):
            tf.compat.v1.nn.dynamic_rnn(make(), read, dtype=tf.float32)
    save('wrapped')

# Layers of cuDNN. They only run on an NVIDIA GPU, so their own Saver says the keys, and a second graph writes arrays under them.
with tf.Graph().as_default() as graph:
    x = tf.compat.v1.placeholder(tf.float32, [None, None, 5], name='x')
    y, _ = tf.contrib.cudnn_rnn.CudnnLSTM(2, 4, name='deep')(x)
    tf.contrib.cudnn_rnn.CudnnLSTM(1, 3, direction='bidirectional', name='both')(y)
    tf.compat.v1.train.Saver()
    meta = os.path.join(sys.argv[1], 'cudnn.meta')
    tf.compat.v1.train.export_meta_graph(meta)
    saving, = (op for op in graph.get_operations() if op.type == 'SaveV2')
    keys = [key.decode() for key in tf.contrib.util.constant_value(saving.inputs[1])]
with tf.Graph().as_default():
    for key in keys:
        units = 4 if key.startswith('deep') else 3
        shape = (4 * units,)
        if key.endswith('/opaque_kernel'):
            shape = (100,)
        elif key.endswith('/kernel'):
            shape = ((5 if 'deep/' in key and 'cell_0' in key else 4) + units, 4 * units)
        tf.compat.v1.get_variable(key, initializer=(NEW.normal(size=shape) * 0.4).astype('f4'))
    save('cudnn')
os.replace(meta, os.path.join(sys.argv[1], 'cudnn', 'model.ckpt.meta'))
