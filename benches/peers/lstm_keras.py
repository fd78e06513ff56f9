"""Keras's LSTM layer on TensorFlow on the CPU, as a peer of `gatewise bench`: see lstm_case.py."""
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
import keras
import tensorflow as tf

from lstm_case import serve


def make(case):
    layer = keras.layers.LSTM(case.units, return_sequences=True)
    layer.build((case.sequences, case.timesteps, case.input))
    layer.set_weights([case.kernel, case.recurrent, case.bias])
    # A graph, as a served model is one; XLA is left off, which took longer to compile and no less to run.
    run = tf.function(lambda x: layer(x, training=False))
    x = tf.constant(case.x)
    return lambda: run(x).numpy(), lambda y: y


serve('Keras', make, version=f'{keras.__version__} on TensorFlow {tf.__version__}', device='CPU')
