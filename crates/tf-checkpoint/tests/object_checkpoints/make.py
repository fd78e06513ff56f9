"""Writes small object-based checkpoints and SavedModels with a real TensorFlow 2, and what is in them.

usage: python make.py OUT_DIR     (once with tensorflow==2.15.1 and Keras 2, once with tensorflow==2.21 and Keras 3)

The model is Sequential(LSTM, Bidirectional(LSTM), Dense). Beside each checkpoint `expected.json` lists every tensor as
TensorFlow reads it, and, under `weights`, the path in the object graph to each weight of the model, with the digest of
the live variable. The functions of `saved_model.pb` are cut out: they are megabytes, and no weights are in them.
"""
import hashlib
import json
import os
import shutil
import sys

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
os.environ['CUDA_VISIBLE_DEVICES'] = ''
import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

OUT = sys.argv[1]
KERAS3 = keras.__version__.startswith('3')
KERAS = 'keras3' if KERAS3 else 'keras2'


def sha(array):
    array = np.asarray(array)
    data = array.item() if array.dtype == object else np.ascontiguousarray(array).tobytes()
    return hashlib.sha256(data).hexdigest()


def fresh(folder):
    folder = os.path.join(OUT, KERAS + '_' + folder)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def describe(folder, prefix, weights):
    reader = tf.train.load_checkpoint(prefix)
    tensors = {}
    for name, shape in sorted(reader.get_variable_to_shape_map().items()):
        value = reader.get_tensor(name)
        dtype = reader.get_variable_to_dtype_map()[name].name
        tensors[name] = dict(dtype=dtype, shape=shape, sha256=sha(value))
    out = dict(producer='tensorflow ' + tf.__version__, keras=keras.__version__, variables=tensors, weights=weights)
    with open(os.path.join(folder, 'expected.json'), 'w') as file:
        json.dump(out, file, indent=1, sort_keys=True)
        file.write('\n')


def cell(path, layer):
    weights = zip(['kernel', 'recurrent_kernel', 'bias'], layer.cell.weights)
    return {path + '/cell/' + name: sha(weight) for name, weight in weights}


def paths(prefix, number, dense):
    lstm, both, last = model.layers
    weights = {**cell(prefix + number(0), lstm), **cell(prefix + number(1) + '/forward_layer', both.forward_layer)}
    weights.update(cell(prefix + number(1) + '/backward_layer', both.backward_layer))
    for name, weight in zip(dense, last.weights):
        weights[prefix + number(2) + '/' + name] = sha(weight)
    return weights


def trim(folder):
    path = os.path.join(folder, 'saved_model.pb')
    message = saved_model_pb2.SavedModel()
    with open(path, 'rb') as file:
        message.ParseFromString(file.read())
    for graph in message.meta_graphs:
        del graph.graph_def.library.function[:]
        graph.object_graph_def.concrete_functions.clear()
        graph.meta_info_def.stripped_op_list.Clear()
    with open(path, 'wb') as file:
        file.write(message.SerializeToString(deterministic=True))
    for other in ['keras_metadata.pb', 'fingerprint.pb', 'assets']:
        other = os.path.join(folder, other)
        shutil.rmtree(other) if os.path.isdir(other) else os.path.exists(other) and os.remove(other)


keras.utils.set_random_seed(7)
L = keras.layers
model = keras.Sequential([
    keras.Input((5, 2)),
    L.LSTM(3, return_sequences=True),
    L.Bidirectional(L.LSTM(2, return_sequences=True)),
    L.Dense(2),
])
rng = np.random.RandomState(7)
model.set_weights([rng.normal(size=w.shape).astype('f4') for w in model.get_weights()])

if KERAS3:
    functional = lambda i: '_functional/_operations/%d' % (i + 1)
    folder = fresh('train_checkpoint')
    prefix = tf.train.Checkpoint(model=model).save(os.path.join(folder, 'ckpt'))
    describe(folder, prefix, paths('model/', functional, ['_kernel', 'bias']))
    folder = fresh('saved_model')
    model.export(folder, verbose=False)
    trim(folder)
    # There are no layers in an export: only lists of variables, whose full names tell what they are.
    listed = {'variables/%d' % i: sha(v) for i, v in enumerate(model.variables)}
    describe(folder, os.path.join(folder, 'variables/variables'), listed)
else:
    with_weights = lambda i: 'layer_with_weights-%d' % i
    folder = fresh('save_weights')
    model.save_weights(os.path.join(folder, 'weights'), save_format='tf')
    describe(folder, os.path.join(folder, 'weights'), paths('', with_weights, ['kernel', 'bias']))
    # After a step, so that the optimizer has slots.
    model.compile(keras.optimizers.legacy.Adam(), 'mse')
    model.train_on_batch(np.zeros((1, 5, 2), 'f4'), np.ones((1, 5, 2), 'f4'))
    folder = fresh('train_checkpoint')
    prefix = tf.train.Checkpoint(model=model).save(os.path.join(folder, 'ckpt'))
    describe(folder, prefix, paths('model/', with_weights, ['kernel', 'bias']))
    folder = fresh('saved_model')
    model.save(folder, save_format='tf')
    trim(folder)
    describe(folder, os.path.join(folder, 'variables/variables'), paths('', with_weights, ['kernel', 'bias']))
