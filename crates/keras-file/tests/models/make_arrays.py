"""Writes the .npz and .safetensors files of tests/arrays.rs with the real numpy and the real safetensors library.

usage: python make_arrays.py OUT_DIR
Run with numpy 2.4.6, ml_dtypes (for bfloat16) and safetensors 0.8.0. Element i of array number k is
((7k + i) mod 64 - 31) / 8 everywhere, which every float type holds exactly; arrays are numbered in the order of each file below.
"""
import io, os, sys, zipfile
import ml_dtypes, numpy as np
from safetensors.numpy import save_file
out = sys.argv[1]; os.makedirs(out, exist_ok=True)
D, U = 3, 2

def array(k, *shape, dtype='<f4'):
    return (((7 * k + np.arange(int(np.prod(shape)))) % 64 - 31) / 8).reshape(shape).astype(dtype)
def weights(k, d=D, u=U, dtype='<f4', bias=True):
    return [array(k, d, 4 * u, dtype=dtype), array(k + 1, u, 4 * u, dtype=dtype)] + ([array(k + 2, 4 * u, dtype=dtype)] if bias else [])
def named(prefix, arrays, suffix=''):
    return {prefix + n + suffix: a for n, a in zip(['kernel', 'recurrent_kernel', 'bias'], arrays)}
def path(name): return os.path.join(out, name)

# As Keras 2 names its variables; a Dense layer, whose arrays 6 and 7 are no LSTM's; a bidirectional layer, backward first.
keras = {**named('lstm/lstm_cell/', weights(0), ':0'), **named('bidirectional/backward_lstm/lstm_cell_2/', weights(3), ':0'),
         'dense/kernel:0': array(6, 4, 5), 'dense/bias:0': array(7, 5), **named('bidirectional/forward_lstm/lstm_cell_1/', weights(8), ':0'), 'iterations': np.int64(7)}
np.savez(path('keras_names.npz'), **keras)
# Alone, in Fortran order, big-endian and deflated.
np.savez_compressed(path('alone.npz'), **{n: np.asfortranarray(a) for n, a in named('', weights(0, dtype='>f8')).items()})
np.savez_compressed(path('float16.npz'), **named('a.', weights(0, dtype='>f2', bias=False)))
# model.get_weights() of an Embedding, two LSTMs (the second without a bias), a CuDNNLSTM and a Dense: 0, 1-3, 4-5, 6-8, 9-10.
np.savez(path('positional.npz'), array(0, 9, 3), *weights(1), *weights(4, d=2, bias=False), array(6, 2, 8), array(7, 2, 8), array(8, 16), array(9, 2, 5), array(10, 5))
# The other header versions, which numpy writes for headers that are long or not Latin-1.
with zipfile.ZipFile(path('versions.npz'), 'w', zipfile.ZIP_DEFLATED) as archive:
    for version, (name, a) in zip([(1, 0), (2, 0), (3, 0)], named('v/', weights(0)).items()):
        buffer = io.BytesIO(); np.lib.format.write_array(buffer, np.asfortranarray(a), version=version); archive.writestr(name + '.npy', buffer.getvalue())
# Split by columns: the kernel has gates i and j with all rows, the recurrent kernel f and o.
whole = array(0, D + U, 4 * U); np.savez(path('column_split.npz'), kernel=whole[:, :2 * U], recurrent_kernel=whole[:, 2 * U:], bias=array(1, 4 * U))
np.savez(path('gru.npz'), **{'gru/kernel': array(0, 3, 6), 'gru/recurrent_kernel': array(1, 2, 6), 'gru/bias': array(2, 2, 6)})

# Every type that recorded inputs may have, as numbers 0, 1, 2, ... and some extremes.
many = {order + kind: np.arange(24).reshape(2, 3, 4).astype(order + kind) for order in '<>' for kind in ('f2', 'f4', 'f8', 'i2', 'i4', 'i8', 'u2', 'u4', 'u8')}
many = {('big_' if n[0] == '>' else 'little_') + n[1:]: a for n, a in many.items()}
many.update(i1=np.array([-128, 127], 'i1'), u1=np.array([0, 255], 'u1'), b1=np.array([True, False]), fortran=np.asfortranarray(np.arange(24).reshape(2, 3, 4)),
            scalar=np.float32(1.5), none=np.zeros((0, 3), 'f4'), exact=np.array([-2**53, 2**53]), special=np.array([np.nan, np.inf, -0.0], 'f4'))
np.savez(path('inputs.npz'), **many); np.savez_compressed(path('inputs_deflated.npz'), **many)
np.savez(path('inexact.npz'), n=np.array([2**53 + 1])); np.savez(path('text.npz'), t=np.array(['x'])); np.savez(path('complex.npz'), z=np.zeros(2, 'c8'))

# The library sorts by type and name: twelve layers come as lstm, lstm_1, lstm_10, lstm_11, lstm_2, ....
twelve = {}
for i in range(12): twelve.update(named('lstm.' if i == 0 else 'lstm_%d.' % i, weights(3 * i, d=1, u=1)))
save_file(twelve, path('twelve.safetensors'), metadata={'format': 'pt'})
for dtype, name in [('f2', 'float16'), (ml_dtypes.bfloat16, 'bfloat16'), ('f8', 'float64')]:
    save_file({**named('bi/fw/', weights(0, dtype=dtype)), **named('bi/bw/', weights(3, dtype=dtype)), 'ids': np.arange(3)}, path(name + '.safetensors'))
