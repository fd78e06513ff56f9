"""Writes golden cases of the rarer LSTM cells, wrappers and wirings with a real TensorFlow 1.15.

usage: python make_golden_cells.py OUT_DIR [--only NAME]     (Python 3.7, tensorflow==1.15.5, protobuf<3.21, numpy<1.19)

The form is that of make_golden_tf1.py: the checkpoint as tf.train.Saver wrote it, io.npz (x [batch,time,input], seq_len, y
[batch,time,units], final states h and c of the top layer) and case.json. Here case.json also says

* "cells": what a reader should find, one entry a cell in the order forward before backward, bottom up: class, sizes, constants,
  and the checkpoint keys by role;
* "wiring": how they are wired: a number is a cell; {"stack": [..]}, {"bidirectional": [forward, backward]}, {"residual": part};
* "keras": what conversion to stock Keras layers is expected: "exact" (weights moved, forget bias folded in), "transform" (weights
  computed from these, rounded once) or "refused", with "why".

Names are not assumed: every key of "cells" is checked against what the checkpoint really holds, and every variable of the
checkpoint must belong to a cell or be one that such a cell makes and leaves unused.
"""
import argparse, hashlib, json, os, shutil
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
import warnings; warnings.filterwarnings('ignore')
import numpy as np
import tensorflow as tf
tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
from tensorflow.contrib import rnn as crnn
from tensorflow.contrib.cudnn_rnn.python.ops.cudnn_rnn_ops import CudnnCompatibleLSTMCell
from tensorflow.contrib.rnn.python.ops import rnn_cell as contrib_cells

ap = argparse.ArgumentParser(); ap.add_argument('out'); ap.add_argument('--only')
A = ap.parse_args()
C = tf.compat.v1.nn.rnn_cell
V = tf.compat.v1

def sha(a): return hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()

def case(name, build, cells, wiring=0, keras='exact', why=None, batch=3, time=6, inp=5, seq_len=False, dtype=np.float32, scale=0.6, time_major=False, unused=()):
    if A.only and A.only != name: return
    d = os.path.join(A.out, name); shutil.rmtree(d, ignore_errors=True); os.makedirs(d)
    g = tf.Graph()
    seed = int(hashlib.md5(name.encode()).hexdigest()[:8], 16) % (2**31)
    rng = np.random.RandomState(seed)
    with g.as_default():
        V.set_random_seed(seed)
        x = V.placeholder(tf.as_dtype(dtype), [time, None, inp] if time_major else [None, time, inp], name='x')
        sl = V.placeholder(tf.int32, [None], name='seq_len') if seq_len else None
        fetch = build(x, sl)
        saver = V.train.Saver()
        with V.Session(graph=g) as s:
            s.run(V.global_variables_initializer())
            for v in V.trainable_variables():
                a = rng.normal(size=v.shape.as_list()) * scale
                if v.op.name.endswith('gamma') or '/norm_' in v.op.name: a = 1 + 0.3 * a
                v.load(a.astype(v.dtype.as_numpy_dtype), s)
            X = rng.normal(size=(batch, time, inp)).astype(np.float32).astype(dtype)  # float64 cases too are fed what float32 holds
            feed = {x: X.transpose(1, 0, 2) if time_major else X}
            io = dict(x=X)
            if sl is not None:
                SL = rng.randint(1, time + 1, size=batch).astype(np.int32); SL[0] = time; feed[sl] = SL; io['seq_len'] = SL
            out = s.run(fetch, feed)
            path = saver.save(s, os.path.join(d, 'model.ckpt'))
    if time_major: out['y'] = out['y'].transpose(1, 0, 2)
    np.savez(os.path.join(d, 'io.npz'), **io, **out)
    r = tf.train.load_checkpoint(path)
    shapes = r.get_variable_to_shape_map()
    taken = [k for c in cells for part in c['variables'].values() for k in (part.values() if isinstance(part, dict) else part if isinstance(part, list) else [part])]
    missing, extra = set(taken) - set(shapes), set(shapes) - set(taken) - set(unused)
    assert not missing and not extra, (name, 'missing', missing, 'beside', extra)
    dtypes = r.get_variable_to_dtype_map()
    vs = {k: dict(shape=list(v), dtype=dtypes[k].name, sha256=sha(r.get_tensor(k))) for k, v in shapes.items()}
    json.dump(dict(name=name, producer='tensorflow ' + tf.__version__, format='v2', input=inp, batch=batch, time=time, time_major=time_major, dtype=np.dtype(dtype).name, variables=vs,
                   outputs={k: list(np.shape(v)) for k, v in out.items()}, cells=cells, wiring=wiring, keras=keras, why=why),
              open(os.path.join(d, 'case.json'), 'w'), indent=1, sort_keys=True)
    print(name, {k: list(v) for k, v in sorted(shapes.items())})

def cell(scope, kind, units, inp=5, names=('kernel', 'bias'), projection=None, peepholes=None, extra=(), **facts):
    """What a reader should find of one cell: `names` are its kernel (or kernels) and bias."""
    at = lambda n: scope + '/' + n
    kernel, bias = names
    v = dict(kernel=[at(k) for k in ([kernel] if isinstance(kernel, str) else kernel)])
    if bias: v['bias'] = at(bias)
    if peepholes: v['peepholes'] = [at(p) for p in peepholes]
    if projection: v['projection'] = [at(part) for part in ([projection[0]] if isinstance(projection[0], str) else projection[0])]
    if extra: v['extra'] = {role: at(role) for role in extra}
    return dict(dict(name=scope, kind=kind, units=units, input=inp, projection=projection[1] if projection else None, forget_bias=1.0, activation='tanh',
                     cell_clip=None, projection_clip=None, layer_norm=False, variables=v), **facts)

def last(state): return state[-1] if isinstance(state, tuple) and not hasattr(state, 'c') else state
def dyn(make, scope='', time_major=False):
    def build(x, sl):
        with V.variable_scope(scope) if scope else V.variable_scope('', reuse=False):
            y, st = V.nn.dynamic_rnn(make(), x, sequence_length=sl, dtype=x.dtype, time_major=time_major)
        return dict(y=y, h=last(st).h, c=last(st).c)
    return build
def bidi(make_f, make_b):
    def build(x, sl):
        (yf, yb), (sf, sb) = V.nn.bidirectional_dynamic_rnn(make_f(), make_b(), x, sequence_length=sl, dtype=x.dtype)
        return dict(y=tf.concat([yf, yb], 2), h=tf.concat([last(sf).h, last(sb).h], 1), c=tf.concat([last(sf).c, last(sb).c], 1))
    return build

LN = [g + '/' + p for g in ('input', 'transform', 'forget', 'output', 'state') for p in ('beta', 'gamma')]
PEEP = ['w_i_diag', 'w_f_diag', 'w_o_diag']
PK = 'projection/kernel'
u, p = 7, 4

# Coupled input and forget gates: i = 1 - f. Three gates in the kernel, in the order j, f, o.
cifg, CIFG = contrib_cells.CoupledInputForgetGateLSTMCell, 'CoupledInputForgetGateLSTMCell'
scope, names = 'rnn/coupled_input_forget_gate_lstm_cell', ('W_0', 'B')
case('cifg', dyn(lambda: cifg(u)), [cell(scope, CIFG, u, names=names)], keras='transform', seq_len=True)
case('cifg_forget_bias', dyn(lambda: cifg(u, forget_bias=0.7)), [cell(scope, CIFG, u, names=names, forget_bias=0.7)], keras='transform')
case('cifg_peephole', dyn(lambda: cifg(u, use_peepholes=True)), [cell(scope, CIFG, u, names=names, extra=['W_F_diag', 'W_O_diag'])], keras='refused', why='peepholes')
case('cifg_projection', dyn(lambda: cifg(u, num_proj=p)), [cell(scope, CIFG, u, names=names, projection=('W_P_0', p))], keras='transform')
case('cifg_full', dyn(lambda: cifg(u, use_peepholes=True, num_proj=p, proj_clip=0.2)),
     [cell(scope, CIFG, u, names=names, projection=('W_P_0', p), extra=['W_F_diag', 'W_O_diag'], projection_clip=0.2)], keras='refused', why='peepholes')

case('cifg_shards', dyn(lambda: cifg(u, num_unit_shards=3, num_proj=p, num_proj_shards=2)),
     [cell(scope, CIFG, u, names=(['W_0', 'W_1', 'W_2'], 'B'), projection=(['W_P_0', 'W_P_1'], p))], keras='transform')
# With layer normalisation its bias is made and not added.
CLN = [g + '/' + part for g in ('transform', 'forget', 'output', 'state') for part in ('beta', 'gamma')]
case('cifg_layer_norm', dyn(lambda: cifg(u, layer_norm=True, forget_bias=0.7)),
     [cell(scope, CIFG, u, names=('W_0', None), extra=CLN, layer_norm=True, forget_bias=0.7)], 0, 'refused', 'layer norm', unused=[scope + '/B'])
case('cifg_layer_norm_full', dyn(lambda: cifg(u, layer_norm=True, use_peepholes=True, num_proj=p)),
     [cell(scope, CIFG, u, names=('W_0', None), extra=CLN + ['W_F_diag', 'W_O_diag'], layer_norm=True, projection=('W_P_0', p))], 0, 'refused', 'layer norm',
     unused=[scope + '/B'])

# Weight normalisation: columns of the input rows and of the recurrent rows, each to the length that norm_0 and norm_1 say.
wn, WN, scope = contrib_cells.WeightNormLSTMCell, 'WeightNormLSTMCell', 'rnn/wn_lstm_cell/wn_lstm_cell'
case('weight_norm', dyn(lambda: wn(u, norm=True)), [cell(scope, WN, u, extra=['norm_0', 'norm_1'])], keras='transform')
case('weight_norm_off', dyn(lambda: wn(u, norm=False)), [cell(scope, WN, u)], keras='exact')
case('weight_norm_projection', dyn(lambda: wn(u, norm=True, num_proj=p)),
     [cell(scope, WN, u, projection=(PK, p), extra=['norm_0', 'norm_1', 'projection/norm_0'])], keras='transform')
case('weight_norm_full', dyn(lambda: wn(u, norm=True, num_proj=p, use_peepholes=True, cell_clip=0.4)),
     [cell(scope, WN, u, projection=(PK, p), extra=['norm_0', 'norm_1', 'projection/norm_0'], peepholes=PEEP, cell_clip=0.4)], keras='refused', why='peepholes')

# A unit's gates see that unit's output alone.
indy, scope = crnn.IndyLSTMCell, 'rnn/indy_lstm_cell'
case('indy', dyn(lambda: indy(u)), [cell(scope, 'IndyLSTMCell', u, names=('kernel_w', 'bias'), extra=['kernel_u'])], keras='transform')

# Groups of units, each with its share of input and output.
glstm, scope, biases = crnn.GLSTMCell, 'rnn/glstm_cell', ['bias_i', 'bias_j', 'bias_f', 'bias_o']
groups = lambda n: ['group%d/kernel' % g for g in range(n)]
case('glstm', dyn(lambda: glstm(6, number_of_groups=2)), [cell(scope, 'GLSTMCell', 6, 4, names=(groups(2), None), extra=biases)], keras='transform', inp=4)
case('glstm_projection', dyn(lambda: glstm(9, number_of_groups=3, num_proj=6)),
     [cell(scope, 'GLSTMCell', 9, 6, names=(groups(3), None), projection=(PK, 6), extra=biases)], keras='transform', inp=6)

# Layer normalisation.
ln, LNK = crnn.LayerNormBasicLSTMCell, 'LayerNormBasicLSTMCell'
multi = lambda n, c: 'rnn/multi_rnn_cell/cell_%d/%s' % (n, c)
lnc = 'layer_norm_basic_lstm_cell'
case('layer_norm_multi', dyn(lambda: C.MultiRNNCell([ln(6), ln(u, forget_bias=0.25)])),
     [cell(multi(0, lnc), LNK, 6, names=('kernel', None), extra=LN, layer_norm=True), cell(multi(1, lnc), LNK, u, 6, names=('kernel', None), extra=LN, layer_norm=True, forget_bias=0.25)],
     {'stack': [0, 1]}, 'refused', 'layer norm')
case('layer_norm_off', dyn(lambda: ln(u, layer_norm=False)), [cell('rnn/' + lnc, LNK, u)])
case('layer_norm_relu', dyn(lambda: ln(u, activation=tf.nn.relu)), [cell('rnn/' + lnc, LNK, u, names=('kernel', None), extra=LN, layer_norm=True, activation='relu')], 0, 'refused', 'layer norm', scale=0.4)
two = lambda d, c: 'bidirectional_rnn/%s/%s' % (d, c)
case('layer_norm_bidirectional', bidi(lambda: ln(u), lambda: ln(6)),
     [cell(two('fw', lnc), LNK, u, names=('kernel', None), extra=LN, layer_norm=True), cell(two('bw', lnc), LNK, 6, names=('kernel', None), extra=LN, layer_norm=True)],
     {'bidirectional': [0, 1]}, 'refused', 'layer norm', seq_len=True)

lnl = 'rnn/layer_norm_lstm_cell'
case('layer_norm_lstm', dyn(lambda: contrib_cells.LayerNormLSTMCell(u, layer_norm=True, use_peepholes=True, cell_clip=0.625, num_proj=p, proj_clip=0.5, forget_bias=0.7)),
     [cell(lnl, 'LayerNormLSTMCell', u, names=('kernel', None), extra=LN, peepholes=PEEP, projection=(PK, p), layer_norm=True, forget_bias=0.7, cell_clip=0.625, projection_clip=0.5)],
     0, 'refused', 'layer norm', unused=[lnl + '/bias'])

# Wrappers.
L, lc = 'LSTMCell', 'lstm_cell'
case('residual', dyn(lambda: C.MultiRNNCell([C.LSTMCell(u), C.ResidualWrapper(C.LSTMCell(u))])), [cell(multi(0, lc), L, u), cell(multi(1, lc), L, u, u)],
     {'stack': [0, {'residual': 1}]}, seq_len=True)
keep = lambda: V.placeholder_with_default(1.0, [], name='keep')
case('wrapped', dyn(lambda: C.MultiRNNCell([C.DropoutWrapper(C.LSTMCell(u), input_keep_prob=keep(), output_keep_prob=keep(), state_keep_prob=1.0),
                                            C.ResidualWrapper(C.DeviceWrapper(C.BasicLSTMCell(u), '/cpu:0'))])),
     [cell(multi(0, lc), L, u), cell(multi(1, 'basic_lstm_cell'), 'BasicLSTMCell', u, u)], {'stack': [0, {'residual': 1}]})
def shared():
    one = C.BasicLSTMCell(u); return C.MultiRNNCell([one] * 2)
case('shared', dyn(shared), [cell(multi(0, 'basic_lstm_cell'), 'BasicLSTMCell', u, u)], {'stack': [0, 0]}, inp=u)

# Wirings.
deep = lambda d, n: 'bidirectional_rnn/%s/multi_rnn_cell/cell_%d/lstm_cell' % (d, n)
case('bidirectional_multi', bidi(lambda: C.MultiRNNCell([C.LSTMCell(u), C.LSTMCell(6)]), lambda: C.MultiRNNCell([C.LSTMCell(8), C.LSTMCell(4)])),
     [cell(deep('fw', 0), L, u), cell(deep('fw', 1), L, 6, u), cell(deep('bw', 0), L, 8), cell(deep('bw', 1), L, 4, 8)],
     {'bidirectional': [{'stack': [0, 1]}, {'stack': [2, 3]}]}, seq_len=True)
case('bidirectional_residual', bidi(lambda: C.MultiRNNCell([C.LSTMCell(u), C.ResidualWrapper(C.LSTMCell(u))]), lambda: C.MultiRNNCell([C.LSTMCell(6), C.LSTMCell(6)])),
     [cell(deep('fw', 0), L, u), cell(deep('fw', 1), L, u, u), cell(deep('bw', 0), L, 6), cell(deep('bw', 1), L, 6, 6)],
     {'bidirectional': [{'stack': [0, {'residual': 1}]}, {'stack': [2, 3]}]})
case('bidirectional_projection', bidi(lambda: C.LSTMCell(u, num_proj=p), lambda: C.LSTMCell(8, num_proj=3)),
     [cell(two('fw', lc), L, u, projection=(PK, p)), cell(two('bw', lc), L, 8, projection=(PK, 3))], {'bidirectional': [0, 1]}, 'transform', seq_len=True)
case('time_major', dyn(lambda: C.LSTMCell(u), time_major=True), [cell('rnn/lstm_cell', L, u)], time_major=True, seq_len=True)
cu, cuc = 'CudnnCompatibleLSTMCell', 'cudnn_compatible_lstm_cell'
case('cudnn_multi', dyn(lambda: C.MultiRNNCell([CudnnCompatibleLSTMCell(u), CudnnCompatibleLSTMCell(u)])),
     [cell(multi(0, cuc), cu, u, forget_bias=0.0), cell(multi(1, cuc), cu, u, u, forget_bias=0.0)], {'stack': [0, 1]})
def cudnn_stack(x, sl):
    make = lambda: [CudnnCompatibleLSTMCell(u), CudnnCompatibleLSTMCell(u)]
    y, sf, sb = crnn.stack_bidirectional_dynamic_rnn(make(), make(), x, dtype=tf.float32)
    return dict(y=y, h=tf.concat([sf[-1].h, sb[-1].h], 1), c=tf.concat([sf[-1].c, sb[-1].c], 1))
sb = lambda n, d: 'stack_bidirectional_rnn/cell_%d/bidirectional_rnn/%s/%s' % (n, d, cuc)
case('cudnn_stack_bidirectional', cudnn_stack, [cell(sb(n, d), cu, u, 5 if n == 0 else 2 * u, forget_bias=0.0) for n in (0, 1) for d in ('fw', 'bw')],
     {'stack': [{'bidirectional': [0, 1]}, {'bidirectional': [2, 3]}]})

# Projection and clips.
one = 'rnn/lstm_cell'
case('projection_ragged', dyn(lambda: C.LSTMCell(u, num_proj=p)), [cell(one, L, u, projection=(PK, p))], keras='transform', seq_len=True)
case('projection_multi', dyn(lambda: C.MultiRNNCell([C.LSTMCell(u, num_proj=p), C.LSTMCell(8, num_proj=3)])),
     [cell(multi(0, lc), L, u, projection=(PK, p)), cell(multi(1, lc), L, 8, p, projection=(PK, 3))], {'stack': [0, 1]}, 'transform')
case('projection_partitioned', dyn(lambda: C.LSTMCell(u, num_proj=p, num_unit_shards=3, num_proj_shards=2)), [cell(one, L, u, projection=(PK, p))], keras='transform')
case('projection_clip', dyn(lambda: C.LSTMCell(u, num_proj=p, proj_clip=0.25)), [cell(one, L, u, projection=(PK, p), projection_clip=0.25)], keras='refused', why='projection clip')
case('clip_never_binds', dyn(lambda: C.LSTMCell(u, cell_clip=50.0)), [cell(one, L, u, cell_clip=50.0)], keras='refused', why='cell clip')
full = dict(use_peepholes=True, num_proj=p, proj_clip=0.5, cell_clip=0.625)
case('full', dyn(lambda: C.LSTMCell(u, **full)), [cell(one, L, u, projection=(PK, p), peepholes=PEEP, cell_clip=0.625, projection_clip=0.5)], keras='refused', why='peepholes', seq_len=True)

# float64: what the equations say to fifteen digits.
f64 = dict(dtype=np.float64)
case('float64_basic', dyn(lambda: C.BasicLSTMCell(u, forget_bias=0.75, dtype=tf.float64)), [cell('rnn/basic_lstm_cell', 'BasicLSTMCell', u, forget_bias=0.75)], **f64)
case('float64_full', dyn(lambda: C.LSTMCell(u, dtype=tf.float64, **full)), [cell(one, L, u, projection=(PK, p), peepholes=PEEP, cell_clip=0.625, projection_clip=0.5)], keras='refused', why='peepholes', **f64)
case('float64_projection', dyn(lambda: C.LSTMCell(u, num_proj=p, dtype=tf.float64)), [cell(one, L, u, projection=(PK, p))], keras='transform', **f64)
case('float64_layer_norm', dyn(lambda: ln(u)), [cell('rnn/' + lnc, LNK, u, names=('kernel', None), extra=LN, layer_norm=True)], 0, 'refused', 'layer norm', **f64)
case('float64_weight_norm', dyn(lambda: wn(u, norm=True, num_proj=p)),
     [cell('rnn/wn_lstm_cell/wn_lstm_cell', WN, u, projection=(PK, p), extra=['norm_0', 'norm_1', 'projection/norm_0'])], keras='transform', **f64)
case('float64_cifg', dyn(lambda: cifg(u, use_peepholes=True, num_proj=p)),
     [cell('rnn/coupled_input_forget_gate_lstm_cell', CIFG, u, names=('W_0', 'B'), projection=('W_P_0', p), extra=['W_F_diag', 'W_O_diag'])], keras='refused', why='peepholes', **f64)
case('float64_indy', dyn(lambda: indy(u, dtype=tf.float64)), [cell('rnn/indy_lstm_cell', 'IndyLSTMCell', u, names=('kernel_w', 'bias'), extra=['kernel_u'])], keras='transform', **f64)
case('float64_glstm', dyn(lambda: glstm(9, number_of_groups=3, num_proj=6)),
     [cell('rnn/glstm_cell', 'GLSTMCell', 9, 6, names=(groups(3), None), projection=(PK, 6), extra=biases)], keras='transform', inp=6, **f64)

# bfloat16 on disk, computed in float32: as mixed precision keeps them.
def bfloat16_variables(getter, name, shape=None, dtype=None, initializer=None, **rest):
    return tf.cast(getter(name, shape=shape, dtype=tf.bfloat16, initializer=tf.zeros_initializer(dtype=tf.bfloat16), **rest), tf.float32)
def mixed(x, sl):
    with V.variable_scope('', custom_getter=bfloat16_variables, reuse=False):
        y, st = V.nn.dynamic_rnn(C.LSTMCell(u, num_proj=p), x, dtype=tf.float32)
    return dict(y=y, h=st.h, c=st.c)
case('bfloat16', mixed, [cell(one, L, u, projection=(PK, p))], keras='transform')
