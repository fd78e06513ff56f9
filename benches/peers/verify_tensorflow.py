"""What an engineer writes in place of `gatewise verify`: runs the LSTM of a checkpoint in TF1's cell and in Keras and compares.

usage: python verify_tensorflow.py CHECKPOINT [--sequences 64] [--timesteps 100] [--forget-bias 1.0]

The checkpoint must hold exactly one BasicLSTMCell or LSTMCell. Prints the largest difference of h at each step, of the last c, and
the seconds of each phase. It does less than `gatewise verify`: c is compared at the last step only (dynamic_rnn does not give it
earlier), nothing is compared with an oracle in double precision, and the forget bias is taken on trust.

Exits with 1 if anything differs by more than 1e-4, with 2 if there is not exactly one LSTM.
"""
import time

started = time.perf_counter()
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
import argparse
import re
import sys
import warnings

warnings.simplefilter('ignore')
import numpy as np
import tensorflow as tf

# Keras is loaded lazily: without this line its import would be counted as running.
LSTM = tf.keras.layers.LSTM
imported = time.perf_counter()

TOLERANCE = 1e-4
v1 = tf.compat.v1
v1.logging.set_verbosity(v1.logging.ERROR)


def restore(checkpoint):
    """Scope, kernel and bias of the only LSTM; slots of optimisers end in other names."""
    reader = tf.train.load_checkpoint(checkpoint)
    kernels = [n for n in reader.get_variable_to_shape_map() if re.search(r'(^|/)(basic_)?lstm_cell/kernel$', n)]
    if len(kernels) != 1:
        print(f'{checkpoint} holds {len(kernels)} LSTM kernels, not one: {sorted(kernels)}', file=sys.stderr)
        sys.exit(2)
    scope = kernels[0][:-len('/kernel')]
    return scope, reader.get_tensor(scope + '/kernel'), reader.get_tensor(scope + '/bias')


def run_tf1(kernel, bias, forget_bias, x, h0, c0):
    """h at every step and the last c, of BasicLSTMCell under dynamic_rnn in a graph of its own."""
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = v1.placeholder(tf.float32, x.shape)
        h, c = v1.placeholder(tf.float32, h0.shape), v1.placeholder(tf.float32, c0.shape)
        cell = v1.nn.rnn_cell.BasicLSTMCell(len(bias) // 4, forget_bias=forget_bias)
        y, last = v1.nn.dynamic_rnn(cell, inputs, initial_state=v1.nn.rnn_cell.LSTMStateTuple(c, h))
        session.run([variable.initializer for variable in cell.variables],
                    {variable.initializer.inputs[1]: value for variable, value in zip(cell.variables, (kernel, bias))})
        return session.run([y, last.c], {inputs: x, h: h0, c: c0})


def run_keras(kernel, bias, forget_bias, x, h0, c0):
    """The same of keras.layers.LSTM. TF1 orders the gates i j f o and adds the forget bias later, Keras orders them i f c o."""
    i, j, f, o = np.split(kernel, 4, axis=1)
    bi, bj, bf, bo = np.split(bias, 4)
    kernel = np.concatenate([i, f, j, o], axis=1)
    bias = np.concatenate([bi, bf + np.float32(forget_bias), bj, bo])
    inputs = x.shape[2]
    layer = LSTM(len(bias) // 4, return_sequences=True, return_state=True)
    layer.build(x.shape)
    layer.set_weights([kernel[:inputs], kernel[inputs:], bias])
    y, _, c = layer(tf.constant(x), initial_state=[tf.constant(h0), tf.constant(c0)])
    return y.numpy(), c.numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint')
    parser.add_argument('--sequences', type=int, default=64)
    parser.add_argument('--timesteps', type=int, default=100)
    parser.add_argument('--forget-bias', type=float, default=1.0)
    options = parser.parse_args()
    clock = [('import', imported - started)]
    mark = time.perf_counter()

    def phase(name):
        nonlocal mark
        clock.append((name, time.perf_counter() - mark))
        mark = time.perf_counter()

    scope, kernel, bias = restore(options.checkpoint)
    phase('restore')

    units = len(bias) // 4
    random = np.random.RandomState(0)
    x = random.normal(size=(options.sequences, options.timesteps, len(kernel) - units)).astype(np.float32)
    h0, c0 = (random.normal(size=(options.sequences, units)).astype(np.float32) for _ in range(2))
    h0[::2] = c0[::2] = 0
    phase('draw')
    tf1_y, tf1_c = run_tf1(kernel, bias, options.forget_bias, x, h0, c0)
    phase('run TF1')
    keras_y, keras_c = run_keras(kernel, bias, options.forget_bias, x, h0, c0)
    phase('run Keras')

    per_step = np.abs(tf1_y - keras_y).max(axis=(0, 2))
    last_c = np.abs(tf1_c - keras_c).max()
    largest = max(per_step.max(), last_c)
    print(f'LSTM {scope}: {len(kernel) - units} inputs, {units} units')
    for step, difference in enumerate(per_step):
        print(f'step {step:4} h {difference:.3e}')
    print(f'last c {last_c:.3e}')
    print(f'largest difference {largest:.3e}')
    phase('compare')
    for name, seconds in clock:
        print(f'phase {name}: {seconds:.4f} s')
    # A NaN is not below the tolerance.
    return 0 if largest <= TOLERANCE else 1


if __name__ == '__main__':
    sys.exit(main())
