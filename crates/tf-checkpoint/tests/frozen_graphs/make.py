"""Writes small frozen graphs with a real TensorFlow 2.15, and the constants in them as TensorFlow reads them.

usage: python make.py OUT_DIR     (tensorflow==2.15.1, Keras 2)

`types.pb` has constants of every type, as bytes, as values one by one, and with the last value standing for the rest.
`keras.pb` is a Keras LSTM, frozen by `convert_variables_to_constants_v2`.
"""
import hashlib
import json
import os
import sys

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
os.environ['CUDA_VISIBLE_DEVICES'] = ''
import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

OUT = sys.argv[1]
TYPES = ['float16', 'bfloat16', 'float32', 'float64', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32',
         'uint64', 'bool', 'complex64', 'complex128', 'float8_e5m2', 'float8_e4m3fn']


def types():
    graph = tf.compat.v1.GraphDef()

    def add(name, dtype, proto):
        node = graph.node.add(name=name, op='Const')
        node.attr['dtype'].type = dtype.as_datatype_enum
        node.attr['value'].tensor.CopyFrom(proto)

    for name in TYPES:
        dtype = tf.dtypes.as_dtype(name)
        two = np.array([1, 3]).astype(dtype.as_numpy_dtype)
        signed = name not in ('bool',) and not name.startswith('u')
        three = np.array([[1, -2 if signed else 2, 0]]).astype(dtype.as_numpy_dtype)
        add(name + '/bytes', dtype, tf.make_tensor_proto(three))
        add(name + '/one', dtype, tf.make_tensor_proto(three[0, 1], dtype=dtype, shape=[]))
        # One value, or two, for a shape of more: TensorFlow repeats the last.
        for kind, values in [('repeated', two[1:]), ('tail', two), ('zeros', two[:0])]:
            full = tf.make_tensor_proto(values[:0], dtype=dtype)
            for value in values:
                full.MergeFrom(tf.make_tensor_proto(value, dtype=dtype, shape=[]))
            full.tensor_shape.CopyFrom(tf.TensorShape([2, 3]).as_proto())
            add(name + '/' + kind, dtype, full)
    return graph


def lstm():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.LSTM(3, unroll=True, bias_initializer='zeros')])
    function = tf.function(model).get_concrete_function(tf.TensorSpec((1, 4, 2), tf.float32))
    return convert_variables_to_constants_v2(function).graph.as_graph_def(), model


def run(graph):
    """Every constant of numbers, as TensorFlow computes it."""
    out = {}
    with tf.Graph().as_default() as g:
        tf.graph_util.import_graph_def(graph, name='')
        names = [n.name for n in graph.node if n.op == 'Const' and n.attr['dtype'].type != tf.string.as_datatype_enum]
        with tf.compat.v1.Session(graph=g) as session:
            for name, value in zip(names, session.run([name + ':0' for name in names])):
                dtype = g.get_tensor_by_name(name + ':0').dtype
                digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
                out[name] = dict(dtype=dtype.name, shape=list(np.shape(value)), sha256=digest)
    return out


expected = {}
frozen, model = lstm()
for name, graph in [('types.pb', types()), ('keras.pb', frozen)]:
    with open(os.path.join(OUT, name), 'wb') as file:
        file.write(graph.SerializeToString(deterministic=True))
    expected[name] = run(graph)
digests = [hashlib.sha256(np.asarray(w).tobytes()).hexdigest() for w in model.weights]
assert all(d in [c['sha256'] for c in expected['keras.pb'].values()] for d in digests)
with open(os.path.join(OUT, 'expected.json'), 'w') as file:
    json.dump(expected, file, indent=1, sort_keys=True)
    file.write('\n')
