"""Writes the small checkpoints that the tests of odd weights run on, with a real TensorFlow 1.15.

usage: python make.py OUT_DIR     (Python 3.7, tensorflow==1.15.5, protobuf<3.21, h5py<3, numpy<1.19)
"""
import os
import sys

import numpy as np
import tensorflow as tf

RNG = np.random.RandomState(0)
CASES = {
    # 400 columns mean 100 units, and 100 rows leave no room for an input.
    'no_room_for_input': (RNG.normal(size=(100, 400)), RNG.normal(size=400)),
    # Nothing can show on weights that are all zero.
    'dead_weights': (np.zeros((13, 32)), np.zeros(32)),
    # One weight is not a number.
    'not_a_number': (np.where(np.arange(13 * 32).reshape(13, 32) == 77, np.nan, RNG.normal(size=(13, 32))), np.zeros(32)),
}
for name, (kernel, bias) in CASES.items():
    with tf.Graph().as_default(), tf.compat.v1.variable_scope('lstm/basic_lstm_cell'):
        tf.compat.v1.get_variable('kernel', initializer=kernel.astype('f4'))
        tf.compat.v1.get_variable('bias', initializer=bias.astype('f4'))
        saver = tf.compat.v1.train.Saver()
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            os.makedirs(os.path.join(sys.argv[1], name), exist_ok=True)
            prefix = os.path.join(sys.argv[1], name, 'model.ckpt')
            saver.save(session, prefix, write_meta_graph=False, write_state=False)
