"""Writes files of Keras 1 and what it computes with them.

usage: KERAS_BACKEND=tensorflow PYTHONPATH=KERAS python make_keras1.py OUT_DIR
KERAS is where `pip install --no-deps --target KERAS keras==1.2.2` put it; run under TensorFlow 1.15.5 (Python 3.7).
keras1_real.npz: an input x [batch, time, width] and the output y [batch, time, units] of the model.
"""
import os, sys
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; os.environ['CUDA_VISIBLE_DEVICES'] = ''
import keras, numpy as np
from keras.models import Sequential
from keras.layers import LSTM, Bidirectional
assert keras.__version__ == '1.2.2'
out = sys.argv[1]; rng = np.random.RandomState(3); path = lambda name: os.path.join(out, name)
model = Sequential([LSTM(3, return_sequences=True, input_shape=(None, 4)), Bidirectional(LSTM(2, return_sequences=True)), LSTM(5, consume_less='gpu', return_sequences=True)])
model.set_weights([rng.normal(size=w.shape).astype('f4') for w in model.get_weights()])
model.save(path('keras1_real.model.h5')); model.save_weights(path('keras1_real.legacy.h5'))
x = rng.normal(size=(2, 6, 4)).astype('f4'); np.savez(path('keras1_real.npz'), x=x, y=model.predict(x))
