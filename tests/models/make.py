"""Writes a small model with other layers around its LSTM, as a user would have built it to take the weights of
tests/golden/seed_names: an LSTM of 100 units on 20 inputs, and a Dense layer of 10 outputs.

usage: python make.py OUT_DIR     (Keras 2.15 writes keras2.*, Keras 3 writes keras3.*)
"""
import os, sys
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
import tensorflow as tf
keras = tf.keras
generation = 'keras3' if tf.__version__ >= '2.16' else 'keras2'
out = os.path.join(sys.argv[1], generation)
keras.utils.set_random_seed(7)
model = keras.Sequential([keras.layers.Input((None, 20)), keras.layers.LSTM(100, return_sequences=True, name='reader'),
                          keras.layers.Dense(10, name='answer')])
for name in {'keras2': ['.h5', '.keras'], 'keras3': ['.keras', '.weights.h5']}[generation]:
    model.save_weights(out + name) if 'weights' in name else model.save(out + name)
