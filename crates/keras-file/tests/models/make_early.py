"""Writes .weights.h5 and .keras files of Keras 2.12 and 2.13, which call the group of the layers by another name.

usage: PYTHONPATH=KERAS python make_early.py OUT_DIR KERAS_VERSION
KERAS is where `pip install --no-deps --target KERAS keras==2.12.0` (or 2.13.1) put it; run under TensorFlow 2.15.1. The gates have
hard_sigmoid because these versions look for a function that TensorFlow 2.15 has no more when an LSTM could use cuDNN.
early.json has the sums of the kernels, in the order data flows.
"""
import json, os, sys
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; os.environ['CUDA_VISIBLE_DEVICES'] = ''
import keras, numpy as np
assert keras.__version__ == sys.argv[2], keras.__version__
L = keras.layers; out = sys.argv[1]; how = dict(return_sequences=True, recurrent_activation='hard_sigmoid'); name = 'early_' + sys.argv[2].replace('.', '_')
x = keras.Input((None, 4)); ls = [L.LSTM(3, **how), L.Bidirectional(L.LSTM(2, **how)), L.LSTM(5, **how), L.LSTM(1, **how)]; y = x
for l in ls[:3]: y = l(y)
model = keras.Model(x, ls[3](L.Dense(2)(y)))
model.save_weights(os.path.join(out, name + '.weights.h5')); model.save(os.path.join(out, name + '.keras'))
path = os.path.join(out, 'early.json'); known = json.load(open(path)) if os.path.exists(path) else {}
known[name] = [[float(w.astype('f8').sum()) for w in l.get_weights()[::3]] for l in ls]; json.dump(known, open(path, 'w'), indent=1, sort_keys=True)
