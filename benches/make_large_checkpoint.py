"""Writes a large V2 checkpoint with TensorFlow's own Saver: a language model as TF1 trained them, with its Adam slots.

usage: python make_large_checkpoint.py OUT_DIR [--mb 500]     (requirements: peers/requirements.txt)

The model is an embedding, one BasicLSTMCell of 1024 units, a tower of 150 small dense layers and a softmax; its vocabulary is as
large as the wanted size asks for. About 900 variables, of a few bytes to a fifth of the whole. The numbers depend on the names of
the variables alone: every run writes the same tensors.
"""
import argparse
import os
import sys
import warnings
import zlib

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
warnings.simplefilter('ignore')
import numpy as np
import tensorflow.compat.v1 as tf

EMBEDDED, UNITS, LAYERS, WIDTH = 512, 1024, 150, 64
SAVED_PER_WEIGHT = 3 * 4  # The weight and Adam's two slots, float32.


def vocabulary_for(size):
    """Rows of the embedding that bring the checkpoint to `size` bytes."""
    lstm = (EMBEDDED + UNITS + 1) * 4 * UNITS
    tower = (UNITS + 1) * WIDTH + LAYERS * (WIDTH + 1) * WIDTH + (WIDTH + 1) * UNITS
    per_word = EMBEDDED + UNITS + 1
    words = (size // SAVED_PER_WEIGHT - lstm - tower) // per_word
    if words < 100:
        smallest = (100 * per_word + lstm + tower) * SAVED_PER_WEIGHT
        sys.exit(f'--mb must be at least {-(-smallest // 1_000_000)}: the LSTM and the tower take most of that')
    return words


def dense(x, width, name, activation=tf.nn.relu):
    with tf.variable_scope(name):
        kernel = tf.get_variable('kernel', [x.shape[-1], width])
        bias = tf.get_variable('bias', [width])
        return activation(tf.matmul(x, kernel) + bias)


def build(words):
    tokens = tf.placeholder(tf.int32, [None, 20], name='tokens')
    labels = tf.placeholder(tf.int32, [None], name='labels')
    embedding = tf.get_variable('embedding/weights', [words, EMBEDDED])
    cell = tf.nn.rnn_cell.BasicLSTMCell(UNITS, forget_bias=1.0)
    _, state = tf.nn.dynamic_rnn(cell, tf.nn.embedding_lookup(embedding, tokens), dtype=tf.float32, scope='lstm')
    x = dense(state.h, WIDTH, 'tower/in')
    for layer in range(LAYERS):
        x = dense(x, WIDTH, f'tower/layer_{layer}')
    logits = dense(dense(x, UNITS, 'tower/out'), words, 'softmax', tf.identity)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    tf.train.AdamOptimizer().minimize(loss, global_step=tf.train.get_or_create_global_step())


def value_of(variable):
    """Numbers that depend on the variable's name alone."""
    name, shape = variable.op.name, variable.shape.as_list()
    if name == 'global_step':
        return np.int64(1000)
    if name in ('beta1_power', 'beta2_power'):
        return np.float32({'beta1_power': 0.9, 'beta2_power': 0.999}[name] ** 1000)
    values = np.random.RandomState(zlib.crc32(name.encode())).uniform(-0.05, 0.05, shape).astype(np.float32)
    return np.square(values) if name.endswith('/Adam_1') else values


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out_dir')
    parser.add_argument('--mb', type=int, default=500, help='size in millions of bytes (default 500)')
    options = parser.parse_args()
    words = vocabulary_for(options.mb * 1_000_000)

    tf.logging.set_verbosity(tf.logging.ERROR)
    # Variables and loops as TF1 had them, so that the saved graph is what TF1 saved.
    tf.disable_v2_behavior()
    build(words)
    os.makedirs(options.out_dir, exist_ok=True)
    with tf.Session() as session:
        initializers = [variable.initializer for variable in tf.global_variables()]
        # All in one run: each other set of operations would have the whole graph pruned and placed again.
        session.run(initializers, {i.inputs[1]: value_of(v) for i, v in zip(initializers, tf.global_variables())})
        prefix = tf.train.Saver().save(session, os.path.join(options.out_dir, 'model.ckpt'), global_step=1000)
    size = os.path.getsize(prefix + '.data-00000-of-00001')
    print(f'{prefix}: {len(tf.global_variables())} variables, {size / 1e6:.1f} MB, vocabulary of {words}')


if __name__ == '__main__':
    main()
