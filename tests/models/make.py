"""Writes a small model with other layers around its LSTM, as a user would have built it to take the weights of
tests/golden/seed_names: an LSTM of 100 units on 20 inputs, and a Dense layer of 10 outputs.

backwards.* are one layer that reads its sequences last step first, and y.npz what it gives for x, in the order it gives it;
merged.h5 has two directions joined in each way that Keras knows, split.h5 the same with lists of names in pieces, masked.keras masks steps, settings.h5 keeps and
returns states, embedding.keras has an Embedding and a Dense layer around its LSTM, and unbiased.keras has no bias.

usage: python make.py OUT_DIR     (Keras 2.15 writes keras2*, Keras 3 writes keras3*)
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

L = keras.layers
if generation == 'keras2':
    import numpy as np
    x = np.random.RandomState(0).normal(size=(4, 6, 3)).astype('f4')
    back = keras.Sequential([L.Input((None, 3)), L.LSTM(5, return_sequences=True, go_backwards=True, name='reader')])
    back.set_weights([w + np.random.RandomState(1).normal(size=w.shape).astype('f4') for w in back.get_weights()])
    back.save(os.path.join(sys.argv[1], 'backwards.h5')); back.save(os.path.join(sys.argv[1], 'backwards.keras'))
    np.savez(os.path.join(sys.argv[1], 'backwards.npz'), x=x, y=back(x))
    merged = keras.Sequential([L.Input((None, 3))])
    for mode in ['sum', 'mul', 'ave', 'concat']:
        merged.add(L.Bidirectional(L.LSTM(4, return_sequences=True), merge_mode=mode, name=mode))
    merged.save(os.path.join(sys.argv[1], 'merged.h5'))
    # Lists of names that are too long for one attribute of HDF5, at 64 kB, are split by Keras: here from 60 bytes on, and 12.
    import h5py
    from keras.src.saving.legacy import hdf5_format
    limit, hdf5_format.HDF5_OBJECT_HEADER_LIMIT = hdf5_format.HDF5_OBJECT_HEADER_LIMIT, 60
    split = os.path.join(sys.argv[1], 'split.h5')
    merged.save(split)
    hdf5_format.HDF5_OBJECT_HEADER_LIMIT = 12
    with h5py.File(split, 'r+') as file:
        weights = file['model_weights']
        names = hdf5_format.load_attributes_from_hdf5_group(weights, 'layer_names')
        del weights.attrs['layer_names']
        hdf5_format.save_attributes_to_hdf5_group(weights, 'layer_names', [name.encode() for name in names])
    hdf5_format.HDF5_OBJECT_HEADER_LIMIT = limit
    masked = keras.Sequential([L.Input((None, 3)), L.Masking(), L.LSTM(4, return_sequences=True, stateful=False, name='reader')])
    masked.save(os.path.join(sys.argv[1], 'masked.keras'))
    x = L.Input(batch_shape=(6, 2, 3))
    keras.Model(x, L.LSTM(4, stateful=True, return_state=True, time_major=True, name='reader')(x)).save(os.path.join(sys.argv[1], 'settings.h5'))
    words = keras.Sequential([L.Input((None,)), L.Embedding(7, 3, name='words'), L.LSTM(4, return_sequences=True, name='reader'),
                              L.Dense(7, use_bias=False, name='answer')])
    words.save(os.path.join(sys.argv[1], 'embedding.keras'))
    plain = keras.Sequential([L.Input((None, 3)), L.LSTM(4, return_sequences=True, use_bias=False, name='reader'), L.Dropout(0.5),
                              L.LSTM(5, return_sequences=True, use_bias=False, name='thinker')])
    plain.save(os.path.join(sys.argv[1], 'unbiased.keras'))
