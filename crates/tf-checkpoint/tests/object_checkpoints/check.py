"""Loads what this crate writes into real Keras models, and compares every weight bit by bit.

usage: python check.py     (once with tensorflow==2.15.1 and Keras 2, once with tensorflow==2.21 and Keras 3)
"""
import hashlib
import json
import os

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
os.environ['CUDA_VISIBLE_DEVICES'] = ''
import keras
import numpy as np
import tensorflow as tf

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, 'keras2_save_weights', 'expected.json')) as file:
    EXPECTED = json.load(file)['weights']
L = keras.layers


def model():
    return keras.Sequential([
        keras.Input((5, 2)),
        L.LSTM(3, return_sequences=True),
        L.Bidirectional(L.LSTM(2, return_sequences=True)),
        L.Dense(2),
    ])


def check(what, model):
    lstm, both, dense = model.layers
    cells = [('layer_with_weights-0/cell/', lstm.cell), ('layer_with_weights-1/forward_layer/cell/', both.forward_layer.cell),
             ('layer_with_weights-1/backward_layer/cell/', both.backward_layer.cell), ('layer_with_weights-2/', dense)]
    count = 0
    for path, layer in cells:
        names = ['kernel', 'recurrent_kernel', 'bias'] if path.endswith('cell/') else ['kernel', 'bias']
        for name, weight in zip(names, layer.weights):
            array = np.ascontiguousarray(np.asarray(weight))
            assert hashlib.sha256(array.tobytes()).hexdigest() == EXPECTED[path + name], (what, path + name)
            count += 1
    assert count == len(EXPECTED) == 11
    print('tensorflow', tf.__version__, 'keras', keras.__version__, what + ':', count, 'weights bit for bit')


if keras.__version__.startswith('3'):
    prefix = os.path.join(HERE, 'written_for_keras3', 'ckpt')
    m = model()
    tf.train.Checkpoint(m).restore(prefix).assert_consumed()
    check('tf.train.Checkpoint(m).restore(p).assert_consumed()', m)
else:
    prefix = os.path.join(HERE, 'written_for_keras2', 'ckpt')
    m = model()
    m.load_weights(prefix).assert_existing_objects_matched()
    check('load_weights', m)
    m = model()
    checkpoint = tf.train.Checkpoint(m)
    checkpoint.restore(prefix).assert_consumed()
    check('tf.train.Checkpoint(m).restore(p).assert_consumed()', m)
    assert int(checkpoint.save_counter) == 1
    listed = dict(tf.train.list_variables(prefix))
    assert len(listed) == 13, listed
