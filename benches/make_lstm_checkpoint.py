"""Writes a V2 checkpoint of one BasicLSTMCell with TensorFlow's own Saver, for `compare_with_tensorflow.py --checkpoint`.

usage: python make_lstm_checkpoint.py OUT_DIR [--input 128] [--units 256]     (requirements: peers/requirements.txt)

The weights are uniform in ±1/√units, and the same on every run.
"""
import argparse
import os
import warnings

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
warnings.simplefilter('ignore')
import numpy as np
import tensorflow.compat.v1 as tf


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out_dir')
    parser.add_argument('--input', type=int, default=128, help='width of the input (default 128)')
    parser.add_argument('--units', type=int, default=256, help='units of the cell (default 256)')
    options = parser.parse_args()

    tf.logging.set_verbosity(tf.logging.ERROR)
    # Variables and loops as TF1 had them, so that the saved graph is what TF1 saved.
    tf.disable_v2_behavior()
    inputs = tf.placeholder(tf.float32, [None, None, options.input], name='inputs')
    cell = tf.nn.rnn_cell.BasicLSTMCell(options.units, forget_bias=1.0)
    tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
    draw = np.random.RandomState(0)
    scale = 1 / np.sqrt(options.units)
    os.makedirs(options.out_dir, exist_ok=True)
    with tf.Session() as session:
        for variable in cell.variables:
            session.run(variable.initializer, {variable.initializer.inputs[1]: draw.uniform(-scale, scale, variable.shape.as_list())})
        prefix = tf.train.Saver().save(session, os.path.join(options.out_dir, 'model.ckpt'))
    print(f'{prefix}: {options.input} inputs, {options.units} units')


if __name__ == '__main__':
    main()
