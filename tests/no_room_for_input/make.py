"""Writes the checkpoint of the test `a_kernel_without_room_for_an_input` with a real TensorFlow 1.15.

usage: python make.py OUT_DIR     (Python 3.7, tensorflow==1.15.5, protobuf<3.21, h5py<3, numpy<1.19)
"""
import os
import sys

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(0)
with tf.Graph().as_default(), tf.compat.v1.variable_scope('lstm/basic_lstm_cell'):
    tf.compat.v1.get_variable('kernel', initializer=rng.normal(size=(100, 400)).astype('f4'))
    tf.compat.v1.get_variable('bias', initializer=rng.normal(size=400).astype('f4'))
    saver = tf.compat.v1.train.Saver()
    with tf.compat.v1.Session() as session:
        session.run(tf.compat.v1.global_variables_initializer())
        saver.save(session, os.path.join(sys.argv[1], 'model.ckpt'), write_meta_graph=False, write_state=False)
