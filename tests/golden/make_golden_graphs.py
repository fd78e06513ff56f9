"""Writes golden graphs with real TensorFlow: small checkpoints whose .meta shows each way an LSTM can be wired and saved.

usage: python make_golden_graphs.py OUT_DIR [--only CASE]     run it once with TensorFlow 1.15 and once with 2.15

The release at hand writes the cases it can: 1.15 (Python 3.7, tensorflow==1.15.5) those with tf.contrib and control flow v1 or v2, 2.15
(tensorflow==2.15.1) the `tf215_*` cases through compat.v1. Every case is a folder: the checkpoint as tf.train.Saver wrote it, io.npz (x, y) and
case.json.
"""
import argparse, hashlib, json, os, shutil
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
os.environ['CUDA_VISIBLE_DEVICES'] = ''
import warnings; warnings.filterwarnings('ignore')
import numpy as np
import tensorflow as tf
v1 = tf.compat.v1
v1.disable_eager_execution()
v1.disable_v2_behavior()
v1.logging.set_verbosity(v1.logging.ERROR)
OLD = tf.__version__.startswith('1.')
C = v1.nn.rnn_cell
if OLD:
    from tensorflow.contrib import rnn as crnn
    from tensorflow.contrib.rnn.python.ops import rnn_cell as contrib_cells
    from tensorflow.python.ops import gen_rnn_ops

ap = argparse.ArgumentParser(); ap.add_argument('out'); ap.add_argument('--only')
A = ap.parse_args()
U, D, T, B = 4, 3, 5, 2

def case(name, build, var_list=None, train=None, saver=None, strip=False, cfv2=False, resource=False, inp=D, time=T, time_major=False, **meta):
    if A.only and A.only != name or name.startswith('tf215_') == OLD: return
    folder = os.path.abspath(os.path.join(A.out, name)); shutil.rmtree(folder, ignore_errors=True); os.makedirs(folder)
    (v1.enable_control_flow_v2 if cfv2 else v1.disable_control_flow_v2)()
    (v1.enable_resource_variables if resource else v1.disable_resource_variables)()
    seed = int(hashlib.md5(name.encode()).hexdigest()[:7], 16)
    rng = np.random.RandomState(seed)
    g = v1.Graph()
    with g.as_default():
        v1.set_random_seed(seed)
        x = v1.placeholder(tf.float32, [time, None, inp] if time_major else [None, time, inp], name='x')
        y = build(x)
        ops, made = train(y) if train else (None, None)
        s_ = saver(made) if saver else v1.train.Saver(var_list() if var_list else None)
        X = rng.normal(size=(time, B, inp) if time_major else (B, time, inp)).astype(np.float32)
        with v1.Session(graph=g) as s:
            s.run(v1.global_variables_initializer())
            for v in v1.trainable_variables(): v.load((rng.normal(size=v.shape.as_list()) * 0.6).astype(v.dtype.base_dtype.as_numpy_dtype), s)
            for _ in range(3):
                if ops is not None: s.run(ops, {x: X})
            out = s.run(y, {x: X})
            here = os.getcwd(); os.chdir(folder)
            s_.save(s, './model.ckpt', write_meta_graph=False)
            s_.export_meta_graph('model.ckpt.meta', strip_default_attrs=strip, clear_devices=True)
            os.chdir(here)
    np.savez(os.path.join(folder, 'io.npz'), x=X, y=out)
    r = v1.train.NewCheckpointReader(os.path.join(folder, 'model.ckpt'))
    variables = {k: list(v) for k, v in r.get_variable_to_shape_map().items()}
    json.dump(dict(name=name, producer='tensorflow ' + tf.__version__, variables=variables, control_flow='v2' if cfv2 else 'v1', resource_variables=resource, **meta),
              open(os.path.join(folder, 'case.json'), 'w'), indent=1, sort_keys=True)
    print(name, sorted(variables.items()), os.path.getsize(os.path.join(folder, 'model.ckpt.meta')))

def dyn(cell, **options): return lambda x: v1.nn.dynamic_rnn(cell(), x, dtype=tf.float32, **options)[0]
def stack(*cells): return C.MultiRNNCell(list(cells))
def fixed_drop(): return C.DropoutWrapper(C.LSTMCell(U), input_keep_prob=0.9, output_keep_prob=0.8, state_keep_prob=0.7)

# Loops as functions.
case('cfv2_loop', dyn(lambda: C.BasicLSTMCell(U, forget_bias=0.5)), cfv2=True, forget_bias=0.5)
case('cfv2_resource', dyn(lambda: stack(C.LSTMCell(U, use_peepholes=True, cell_clip=0.7, num_proj=3, proj_clip=0.5), C.LSTMCell(U, forget_bias=0.25))), cfv2=True, resource=True)
def bidi(x, merge=None):
    (f, b), _ = v1.nn.bidirectional_dynamic_rnn(C.LSTMCell(U), C.LSTMCell(U), x, dtype=tf.float32)
    return merge(f, b) if merge else tf.concat([f, b], 2)
def lengths(x): return v1.nn.dynamic_rnn(C.BasicLSTMCell(U), x, sequence_length=[T, T - 2], dtype=tf.float32)[0]
case('cfv2_bidirectional', bidi, cfv2=True)
case('cfv2_trained', lengths, cfv2=True, train=lambda y: (v1.train.AdamOptimizer(0.01).minimize(tf.reduce_mean(y)), None))
for flow in [1, 2]:
    case('tf215_cf%d' % flow, dyn(lambda: stack(C.BasicLSTMCell(U, forget_bias=0.5), C.LSTMCell(U))), cfv2=flow == 2, forget_bias=[0.5, 1.0])
    case('tf215_cf%d_resource' % flow, lambda x: bidi(x, lambda f, b: f + b), cfv2=flow == 2, resource=True, merge='sum')

# One set of variables, used more than once.
def decoder_twice(x):
    w = v1.get_variable('embedding', [7, D])
    cell = C.BasicLSTMCell(U, forget_bias=0.75)
    with v1.variable_scope('decoder'):
        train, _ = v1.nn.dynamic_rnn(cell, x, dtype=tf.float32)
    out = v1.get_variable('out', [U, 7])
    with v1.variable_scope('decoder', reuse=True), v1.variable_scope('rnn', reuse=True):
        state, token, steps = cell.zero_state(B, tf.float32), tf.zeros([B], tf.int32), []
        for _ in range(4):
            h, state = cell(tf.nn.embedding_lookup(w, token), state)
            token = tf.argmax(tf.matmul(h, out), 1, output_type=tf.int32); steps.append(h)
    return tf.concat([train, tf.stack(steps, 1)], 1)
case('decoder_twice', decoder_twice, forget_bias=0.75)
def conflict(x):
    with v1.variable_scope('m'): a, _ = v1.nn.dynamic_rnn(C.BasicLSTMCell(U, forget_bias=1.0), x, dtype=tf.float32)
    with v1.variable_scope('m', reuse=True): b, _ = v1.nn.dynamic_rnn(C.BasicLSTMCell(U, forget_bias=0.0), x, dtype=tf.float32)
    return a + b
case('two_forget_biases', conflict)
def same_twice():
    cell = C.LSTMCell(U); return stack(cell, cell)
case('shared_stack', dyn(same_twice), inp=U, note='MultiRNNCell([cell] * 2)')
def unroll(cell):
    def build(x):
        y, _ = v1.nn.static_rnn(cell(), tf.unstack(x, axis=1), dtype=tf.float32)
        return tf.stack(y, 1)
    return build
case('shared_stack_static', unroll(same_twice), inp=U, time=3)
case('unrolled_20', unroll(lambda: stack(C.BasicLSTMCell(U), C.BasicLSTMCell(U))), time=20)
def feedback(x):
    cell, ys = C.BasicLSTMCell(U), []
    state = cell.zero_state(B, tf.float32); h = tf.zeros([B, U]) + tf.reduce_mean(x)
    for _ in range(4): h, state = cell(h, state); ys.append(h)
    return tf.stack(ys, 1)
case('feedback', feedback, note='each step reads the output of the step before: no stack')

# Names that say nothing.
def renamed():
    by = {v.op.name: v for v in v1.global_variables()}
    return {'enc/w': by['body/rnn/lstm_cell/kernel'], 'enc/v': by['body/rnn/lstm_cell/bias'], 'enc/p': by['body/rnn/lstm_cell/projection/kernel'],
            'pi': by['body/rnn/lstm_cell/w_i_diag'], 'pf': by['body/rnn/lstm_cell/w_f_diag'], 'po': by['body/rnn/lstm_cell/w_o_diag']}
def body(x):
    with v1.variable_scope('body'): return v1.nn.dynamic_rnn(C.LSTMCell(U, num_proj=3, use_peepholes=True), x, dtype=tf.float32)[0]
case('renamed_keys', body, var_list=renamed)
case('own_name', dyn(lambda: C.BasicLSTMCell(U, name='core')), note='the cell is named `core`')

# Fused operations.
if OLD:
    case('stripped_defaults', dyn(lambda: stack(crnn.LSTMBlockCell(U, forget_bias=1.0, cell_clip=3.0), crnn.LSTMBlockCell(U, forget_bias=0.5))), strip=True, cell_clip=[3.0, None])
    def block(x, forward=None):
        w = v1.get_variable('core/w', [D + U, 4 * U]); b = v1.get_variable('core/b', [4 * U]); zero = tf.zeros([B, U]); p = tf.zeros([U])
        xt = tf.transpose(x, [1, 0, 2])
        _, _, _, _, _, _, h = gen_rnn_ops.block_lstmv2(tf.constant(T, tf.int64), xt, zero, zero, w, p, p, p, b)
        return tf.transpose(h, [1, 0, 2])
    case('block_v2', block, note='BlockLSTMV2: columns i, f, c, o, and no forget bias')

# Inputs and outputs.
case('time_major', dyn(lambda: C.LSTMCell(U), time_major=True), time_major=True)
case('sum_directions', lambda x: bidi(x, lambda f, b: f + b), merge='sum')
case('mul_directions', lambda x: bidi(x, lambda f, b: f * b), merge='mul')
case('ave_directions', lambda x: bidi(x, lambda f, b: (f + b) / 2), merge='ave')
def projected(x):
    (f, b), _ = v1.nn.bidirectional_dynamic_rnn(C.LSTMCell(U, num_proj=2), C.LSTMCell(U, num_proj=2), x, dtype=tf.float32)
    return f + b
case('sum_projected', projected, merge='sum', note='each direction is projected before they are added')
case('sum_and_more', lambda x: bidi(x, lambda f, b: tf.concat([f + b, f], 2)), note='the outputs are added and also read otherwise')
def summed_layers(x):
    for n in range(2):
        with v1.variable_scope('layer_%d' % n): x = bidi(x, lambda f, b: f + b)
    return x
case('sum_stack', summed_layers)
res = C.ResidualWrapper
case('residual_middle', dyn(lambda: stack(C.LSTMCell(U), res(C.LSTMCell(U)), C.LSTMCell(U, forget_bias=0.5), C.LSTMCell(U))), residual=[False, True, False, False])
case('residual_dropout', dyn(lambda: stack(C.LSTMCell(U), res(fixed_drop()), res(C.LSTMCell(U)))), residual=[False, True, True])
case('residual_whole', dyn(lambda: res(stack(C.LSTMCell(U), C.LSTMCell(U)))), inp=U, note='one residual connection around two layers')
case('dropout', dyn(lambda: stack(fixed_drop(), fixed_drop())))
def keep(x):
    k = v1.placeholder_with_default(1.0, [], name='keep')
    return v1.nn.dynamic_rnn(stack(*[C.DropoutWrapper(C.LSTMCell(U), output_keep_prob=k, variational_recurrent=True, dtype=tf.float32) for _ in range(2)]), x, dtype=tf.float32)[0]
case('dropout_variational', keep)

# Moving averages.
def ema_of(y, name='ExponentialMovingAverage', scope=''):
    step = v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(y)); ema = tf.train.ExponentialMovingAverage(0.9, name=name)
    with tf.control_dependencies([step]), v1.variable_scope(scope): return ema.apply(v1.trainable_variables()), ema
case('ema_both', dyn(lambda: C.BasicLSTMCell(U)), train=ema_of)
case('ema_only', dyn(lambda: C.BasicLSTMCell(U)), train=ema_of, saver=lambda ema: v1.train.Saver([ema.average(v) for v in v1.trainable_variables()]))
case('ema_for_evaluation', dyn(lambda: C.BasicLSTMCell(U)), train=ema_of, saver=lambda ema: v1.train.Saver(ema.variables_to_restore(v1.trainable_variables())))
case('ema_named', dyn(lambda: C.BasicLSTMCell(U)), train=lambda y: ema_of(y, 'shadow'), note='the averages have a name of their own')
case('ema_named_only', dyn(lambda: C.BasicLSTMCell(U)), train=lambda y: ema_of(y, 'shadow'), saver=lambda ema: v1.train.Saver([ema.average(v) for v in v1.trainable_variables()]))
case('ema_scoped', dyn(lambda: C.BasicLSTMCell(U)), train=lambda y: ema_of(y, scope='averages'), note='the averages lie in a scope of their own')
if OLD:
    def swapping(y):
        opt = tf.contrib.opt.MovingAverageOptimizer(v1.train.GradientDescentOptimizer(0.1), average_decay=0.9)
        return opt.minimize(tf.reduce_mean(y)), opt
    case('ema_swapped', dyn(lambda: C.BasicLSTMCell(U)), train=swapping, saver=lambda opt: opt.swapping_saver())

# The other cells of tf.contrib.rnn, one step each.
if OLD:
    def contrib(x):
        out = []
        def add(scope, cell, x=x):
            with v1.variable_scope(scope): out.append(v1.nn.static_rnn(cell, tf.unstack(x[:, :1], axis=1), dtype=tf.float32)[0][-1])
        add('coupled', crnn.CoupledInputForgetGateLSTMCell(U, forget_bias=0.5))
        add('coupled_all', crnn.CoupledInputForgetGateLSTMCell(U, use_peepholes=True, num_proj=2, proj_clip=0.3, num_unit_shards=2))
        add('coupled_norm', crnn.CoupledInputForgetGateLSTMCell(U, layer_norm=True))
        add('weight_norm', contrib_cells.WeightNormLSTMCell(U, forget_bias=0.5))
        add('weight_norm_all', contrib_cells.WeightNormLSTMCell(U, use_peepholes=True, cell_clip=0.4, num_proj=2, proj_clip=0.3))
        add('weight_norm_off', contrib_cells.WeightNormLSTMCell(U, norm=False))
        add('indy', crnn.IndyLSTMCell(U, forget_bias=0.5, activation=tf.nn.relu))
        xg = tf.concat([x, x[:, :, :1]], 2)
        add('grouped', crnn.GLSTMCell(U, number_of_groups=2, forget_bias=0.5), xg)
        add('grouped_projection', crnn.GLSTMCell(U, number_of_groups=2, num_proj=2), xg)
        add('grouped_relu', crnn.GLSTMCell(U, number_of_groups=2, activation=tf.nn.relu), xg)
        add('norm', crnn.LayerNormBasicLSTMCell(U, forget_bias=0.5, activation=tf.nn.relu))
        add('norm_dropout', crnn.LayerNormBasicLSTMCell(U, dropout_keep_prob=0.9))
        add('norm_off', crnn.LayerNormBasicLSTMCell(U, layer_norm=False))
        add('norm_lstm', contrib_cells.LayerNormLSTMCell(U, layer_norm=True, use_peepholes=True, cell_clip=0.4, num_proj=2, forget_bias=0.5))
        add('norm_lstm_off', contrib_cells.LayerNormLSTMCell(U))
        return tf.concat(out, 1)
    case('contrib_cells', contrib)
