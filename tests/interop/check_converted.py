"""Loads what gatewise converted with a real Keras, runs it, and compares with what TensorFlow 1.x and this Keras computed.

usage: python check_converted.py CONVERTED_DIR GOLDEN_DIR

CONVERTED_DIR is what convert_golden.py wrote. Of each case, every file that this Keras can load is loaded:

* weights (legacy.h5, *.weights.h5, tf2_checkpoint) by Keras or tf.train.Checkpoint, into a model built here in the wiring of the
  case's model2.keras; .npz and .safetensors, which Keras does not read, by numpy and the safetensors library (or ten lines here);
* model2.keras by Keras 2 and model3.keras by Keras 3 as they are; where no hard_sigmoid and no reversed stack is in it, both.

Then three things are compared. The arrays that Keras has loaded must be those of weights.npz, bit for bit. The outputs must be within
2e-6 of the y that TensorFlow 1.x recorded (float16: 4 roundings of it), sequence by sequence, each at its own length; models of one
branch also under a mask, whose steps must give zeros. And where the golden case has a y_keras.npz of this Keras, the outputs of the
whole batch must be within 1e-6 of it. into/ and sources/ are compared with the model filled and with what Keras 2 itself loads.

Exits with 1 on any difference, any file that does not load, or when nothing was compared.
"""
import collections, json, os, struct, sys, zipfile
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
import numpy as np
import tensorflow as tf

keras = tf.keras
L = keras.layers
VERSION = getattr(keras, '__version__', tf.__version__)
THREE = VERSION.startswith('3')
GENERATION = 'keras3' if THREE else 'keras2'
# .weights.h5 and .keras came with Keras 2.12; TensorFlow 2.2 has only the legacy file.
NEW_FORMATS = tuple(int(n) for n in tf.__version__.split('.')[:2]) >= (2, 12)
RECORDED, SAME_KERAS = 2e-6, 1e-6

# Recordings that are not those of the weights as saved, run on x as it is.
NOT_COMPARABLE = {
    'initial_state': 'recorded from other states than zero',
    'graphs/cfv2_trained': 'the graph cuts sequences off and the recording does not say where',
    'graphs/decoder_twice': 'y holds the outputs of two uses of the decoder',
    'graphs/dropout': 'recorded while dropping out',
    'graphs/residual_dropout': 'recorded while dropping out',
    'graphs/ema_only': 'computed with the weights, of which only the averages are saved',
    'graphs/ema_named_only': 'computed with the weights, of which only the averages are saved',
    'graphs/ema_for_evaluation': 'computed with the weights, of which only the averages are saved',
    'graphs/feedback': 'each step reads the output before',
    'graphs/sum_and_more': 'y is the sum of both directions beside the forward one',
}
# Weights three times as large as the others': float32 itself is further off.
LARGE = 2e-5


class Skip(Exception):
    """This Keras cannot load such a file, for a reason of its own."""


# ---- models

def config_of(folder):
    with zipfile.ZipFile(os.path.join(folder, 'model2.keras')) as archive:
        return json.loads(archive.read('config.json').decode())


def lstm(config, **more):
    keep = ('name', 'units', 'activation', 'recurrent_activation', 'use_bias', 'go_backwards')
    return L.LSTM(return_sequences=True, **dict({k: config[k] for k in keep}, **more))


def layer_of(node):
    config = node['config']
    kind = node['class_name']
    if kind == 'LSTM':
        return lstm(config)
    if kind == 'Bidirectional':
        return L.Bidirectional(lstm(config['layer']['config']), backward_layer=lstm(config['backward_layer']['config']),
                               merge_mode=config['merge_mode'], name=config['name'])
    if kind == 'Dense':
        return L.Dense(config['units'], use_bias=config['use_bias'], name=config['name'])
    if kind == 'Add':
        return L.Add(name=config['name'])
    if kind == 'Concatenate':
        return L.Concatenate(name=config['name'])
    if kind == 'TFOpLambda':
        return L.Lambda(lambda t: tf.reverse(t, [1]), name=config['name'])
    raise ValueError('layer of class ' + kind)


def build(config):
    """The model of a configuration in the dialect of Keras 2, with random weights."""
    tensors, inputs = {}, []
    sequential = config['class_name'] == 'Sequential'
    last = None
    for node in config['config']['layers']:
        name = node['config']['name']
        if node['class_name'] == 'InputLayer':
            tensors[name] = keras.Input(tuple(node['config']['batch_input_shape'][1:]), name=name)
            inputs.append(tensors[name])
        else:
            inbound = node.get('inbound_nodes')
            # Operations name their one input without a list of inputs around it.
            refs = [last] if sequential else [r[0] for r in (inbound if node['class_name'] == 'TFOpLambda' else inbound[0])]
            made = [tensors[r] for r in refs]
            tensors[name] = layer_of(node)(made if len(made) > 1 else made[0])
        last = name
    outputs = [tensors[last]] if sequential else [tensors[o[0]] for o in config['config']['output_layers']]
    by_name = {t: tensors[t] for t in tensors}
    ordered = inputs if sequential else [by_name[i[0]] for i in config['config']['input_layers']]
    return keras.Model(ordered, outputs)


def has_reversed_stack(config):
    return any(n['class_name'] == 'TFOpLambda' for n in config['config']['layers'])


def widths_that_keras_3_gets_wrong(config):
    """Whether something reads a Bidirectional layer whose halves differ in units: Bidirectional.compute_output_shape doubles the forward one's."""
    layers = config['config']['layers']
    halves = lambda n: n['class_name'] == 'Bidirectional' and n['config']['layer']['config']['units'] != n['config']['backward_layer']['config']['units']
    return any(halves(n) for n in layers[:-1])


def says(config, word):
    return word in json.dumps(config)


# ---- arrays by layer, in the order of the file

def read_npz(path):
    with np.load(path) as arrays:  # refuses pickles
        return [(name, arrays[name]) for name in arrays.files]


def read_safetensors(path):
    with open(path, 'rb') as file:
        header = json.loads(file.read(struct.unpack('<Q', file.read(8))[0]).decode())
        data = file.read()
    if header.pop('__metadata__') != {'format': 'keras-lstm'}:
        raise ValueError('unexpected metadata')
    names = sorted(header, key=lambda name: header[name]['data_offsets'])
    try:
        from safetensors.numpy import load_file
        arrays = load_file(path)
    except ImportError:
        arrays = {n: np.frombuffer(data[slice(*header[n]['data_offsets'])], {'F32': '<f4'}[header[n]['dtype']]).reshape(header[n]['shape'])
                  for n in names}
    if sorted(arrays) != sorted(names):
        raise ValueError('the library finds %s' % sorted(arrays))
    return [(name, arrays[name]) for name in names]


ROLES = ['kernel', 'recurrent_kernel', 'bias']
ORDER = ROLES + [half + role for half in ('forward_layer/', 'backward_layer/') for role in ROLES]


def by_layer(arrays):
    layers = collections.OrderedDict()
    for name, array in arrays:
        layer, role = name.split('/', 1)
        layers.setdefault(layer, []).append((ORDER.index(role), array))
    return collections.OrderedDict((layer, [a for _, a in sorted(found, key=lambda item: item[0])]) for layer, found in layers.items())


# ---- loading

def variable_of(weights, name):
    return next(v for v in weights if v.name.split('/')[-1].split(':')[0] == name)


def checkpoint_object(layer):
    """The objects of a layer as Keras 2 has them."""
    node = tf.train.Checkpoint
    plain = lambda weights: {role: getattr(variable_of(weights, role), 'value', None) for role in ROLES}
    def cell(part):
        return node(cell=node(**{role: v.value if THREE else v for role in ROLES for v in part.weights if v.name.split('/')[-1].split(':')[0] == role}))
    if isinstance(layer, L.Bidirectional):
        return node(forward_layer=cell(layer.forward_layer), backward_layer=cell(layer.backward_layer))
    if isinstance(layer, L.Dense):
        return node(kernel=layer.kernel.value if THREE else layer.kernel)
    return cell(layer)


def load_checkpoint(prefix, model, layers):
    reader = tf.train.load_checkpoint(prefix)
    paths = sorted(k for k in reader.get_variable_to_shape_map() if k.endswith('VARIABLE_VALUE'))
    if any('/cells/' in k for k in paths):
        # A stack of cells inside each direction is one layer there.
        directions = [model.get_layer(name).get_config() for name in layers]
        counts = {half: len({k.split('/cells/')[1].split('/')[0] for k in paths if '/%s/' % half in k}) for half in ('forward_layer', 'backward_layer')}
        first, second = directions[:counts['forward_layer']], directions[counts['forward_layer']:]
        if len(second) != counts['backward_layer']:
            raise ValueError('%s cells in %d layers' % (counts, len(directions)))
        cells = lambda some: [L.LSTMCell(c['units'], activation=c['activation'], recurrent_activation=c['recurrent_activation']) for c in some]
        both = L.Bidirectional(L.RNN(cells(first), return_sequences=True), backward_layer=L.RNN(cells(second), return_sequences=True, go_backwards=True))
        x = keras.Input((None, model.input_shape[-1]))
        stacked = keras.Model(x, both(x))
        if THREE:
            node = tf.train.Checkpoint
            half = lambda rnn: node(cell=node(cells=node(**{str(n): node(**{v.name.split('/')[-1]: v.value for v in c.weights}) for n, c in enumerate(rnn.cell.cells)})))
            root = node(**{'layer_with_weights-0': node(forward_layer=half(both.forward_layer), backward_layer=half(both.backward_layer))})
            root.read(prefix).assert_existing_objects_matched()
        else:
            stacked.load_weights(prefix).assert_existing_objects_matched()
        every = first + second
        found = [stacked.get_weights()[3 * n:3 * n + 3] for n in range(len(every))]
        for name, arrays in zip(layers, found):
            model.get_layer(name).set_weights(arrays)
        return stacked
    if THREE:
        listed = [layer for layer in model.layers if layer.weights]
        tree = {'layer_with_weights-%d' % n: checkpoint_object(layer) for n, layer in enumerate(listed)}
        tf.train.Checkpoint(**tree).read(prefix).assert_existing_objects_matched()
    else:
        model.load_weights(prefix).assert_existing_objects_matched()
    return None


# ---- comparing

def run(model, x, mask=None):
    outputs = model(x) if mask is None else model(x, mask=mask)
    return np.asarray(outputs[0] if isinstance(outputs, (list, tuple)) else outputs)


def apart(a, b):
    if a.shape != b.shape or a.size == 0:
        raise ValueError('output of shape %s, expected %s' % (a.shape, b.shape))
    worst = float(np.abs(a.astype('float64') - b).max())
    return worst if worst == worst else float('inf')


def judge(model, case, name, masked):
    """Largest distance from TensorFlow's recording as a share of what is allowed, what was compared, and that of y_keras."""
    notes = []
    far = None
    io = np.load(os.path.join(case, 'io.npz'))
    x = io['x'].astype('float32')
    if name in NOT_COMPARABLE:
        notes.append(NOT_COMPARABLE[name])
    elif THREE and name == 'keras_tf1_hard_sigmoid':
        # Keras 3 means another function by the name: that it does is checked, not that it does not.
        other = apart(run(model, x), io['y'])
        if not 0.08 < other < 0.1:
            raise ValueError('Keras 3 is %.3g from TensorFlow, where its hard_sigmoid is 0.089 off' % other)
        notes.append('%.3f from TensorFlow: another hard_sigmoid' % other)
    elif 'y' not in io.files:
        notes.append('several networks, each with a y of its own')
    elif len(model.inputs) > 1:
        notes.append('several networks')
    else:
        y = io['y']
        if name == 'graphs/time_major':
            x, y = x.transpose(1, 0, 2), y.transpose(1, 0, 2)
        tolerance = RECORDED if y.dtype != np.float16 else 4 * 2.0 ** -11
        tolerance = LARGE if 'big_state' in name else tolerance
        lengths = io['seq_len'] if 'seq_len' in io.files else [x.shape[1]] * x.shape[0]
        far = 0.0
        for n, length in enumerate(lengths):
            far = max(far, apart(run(model, x[n:n + 1, :length]), y[n:n + 1, :length]) / tolerance)
        if 'seq_len' in io.files and masked:
            mask = np.arange(x.shape[1])[None, :] < np.asarray(lengths)[:, None]
            far = max(far, apart(run(model, x, tf.constant(mask)), y) / tolerance)
            notes.append('also masked')
    own = os.path.join(case, GENERATION, 'y_keras.npz')
    if os.path.exists(own) and len(model.inputs) == 1:
        same = apart(run(model, np.load(os.path.join(case, 'io.npz'))['x'].astype('float32')), np.load(own)['y'])
        # TensorFlow 2.2 has another LSTM than the Keras 2.15 that recorded it.
        far = max(far or 0.0, same / SAME_KERAS)
        notes.append('y_keras %.1e' % same)
    return far, notes


def same_arrays(model, layers):
    for name, arrays in layers.items():
        found = model.get_layer(name).get_weights()
        if len(found) != len(arrays) or any(f.dtype != a.dtype or not np.array_equal(f, a) for f, a in zip(found, arrays)):
            raise ValueError('layer %s holds other arrays than weights.npz' % name)


def check(folder, case, name, file):
    path = os.path.join(folder, file)
    layers = by_layer(read_npz(os.path.join(folder, 'weights.npz')))
    config = config_of(folder)
    masked = False
    if THREE and widths_that_keras_3_gets_wrong(config):
        raise Skip('Keras 3 takes a backward half to be as wide as the forward one')
    if file.endswith('.keras'):
        if not NEW_FORMATS:
            raise Skip('came with Keras 2.12')
        other = file == ('model2.keras' if THREE else 'model3.keras')
        if other and (says(config, 'hard_sigmoid') or has_reversed_stack(config)):
            raise Skip('for the other Keras')
        model = keras.models.load_model(path)
        # An Add passes the input on in masked steps, and a reversal knows no mask.
        masked = not any(n['class_name'] in ('TFOpLambda', 'Add') for n in config['config']['layers'])
    else:
        if file.endswith('.weights.h5') and not NEW_FORMATS:
            raise Skip('came with Keras 2.12')
        model = build(config)
        before = model.get_weights()
        if file == 'tf2_checkpoint':
            load_checkpoint(path, model, layers)
        elif file.endswith('.h5'):
            model.load_weights(path)
        else:
            found = by_layer(read_npz(path) if file.endswith('.npz') else read_safetensors(path))
            for layer, arrays in found.items():
                model.get_layer(layer).set_weights(arrays)
        # A bias may equal its initial value; a random kernel cannot.
        if any(np.array_equal(b, a) for b, a in zip(before, model.get_weights()) if b.ndim == 2):
            raise ValueError('loading left a kernel as it was')
    same_arrays(model, layers)
    return judge(model, case, name, masked)


def check_into(folder, golden, file):
    """A filled model computes the recorded y in its LSTM, and holds the Dense layer's weights."""
    path = os.path.join(folder, file)
    if not NEW_FORMATS and file != 'keras2.h5':
        raise Skip('came with Keras 2.12')
    if file.startswith('keras3') and not THREE:
        raise Skip("Keras 3's file")
    if file.startswith('keras2') and THREE:
        raise Skip("Keras 2's file, with time_major in its configuration")
    if file.endswith('.weights.h5'):
        model = keras.Sequential([keras.Input((None, 20)), L.LSTM(100, return_sequences=True, name='reader'), L.Dense(10, name='answer')])
        model.load_weights(path)
    else:
        model = keras.models.load_model(path)
    io = np.load(os.path.join(golden, 'seed_names', 'io.npz'))
    reader = tf.train.load_checkpoint(os.path.join(golden, 'seed_names', 'model.ckpt'))
    for role, found in zip(('kernel', 'bias'), model.get_layer('answer').get_weights()):
        if not np.array_equal(found, reader.get_tensor('output_layer/' + role)):
            raise ValueError('the Dense layer holds another ' + role)
    lengths = io['seq_len'] if 'seq_len' in io.files else [io['x'].shape[1]] * len(io['x'])
    return max(apart(np.asarray(model.get_layer('reader')(io['x'][n:n + 1, :t])), io['y'][n:n + 1, :t]) for n, t in enumerate(lengths)) / RECORDED, []


def check_source(folder, golden, name):
    """What gatewise read out of a file of an old Keras is what Keras 2's own loader makes of it."""
    if THREE:
        raise Skip('Keras 3 does not read it')
    source = os.path.join(golden, '..', '..', 'crates', 'keras-file', 'tests', 'models', 'old', name + '.legacy.h5')
    layers = by_layer(read_npz(os.path.join(folder, 'weights.npz')))
    model, width = keras.Sequential(), next(iter(layers.values()))[0].shape[0]
    model.add(keras.Input((None, width)))
    for arrays in layers.values():
        one = L.LSTM(arrays[1].shape[0], return_sequences=True)
        model.add(L.Bidirectional(one) if len(arrays) > 3 else one)
    model.load_weights(source)
    for layer, arrays in zip(model.layers, layers.values()):
        if not all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), arrays)):
            raise ValueError('Keras loads other arrays into ' + layer.name)
    return 0.0, ['arrays equal']


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    converted, golden = sys.argv[1:]
    counts, failed, worst = collections.Counter(), 0, 0.0
    skipped = collections.Counter()
    print('Keras %s, TensorFlow %s' % (VERSION, tf.__version__))
    print('%-34s %-20s %-10s %s' % ('case', 'file', 'of allowed', 'result'))

    def one(name, file, work):
        nonlocal failed, worst
        try:
            far, notes = work()
            # Written so that a NaN fails.
            ok = far is None or far <= 1.0
            worst = max(worst, far or 0.0)
            shown, result = '-' if far is None else '%.3f' % far, ('ok' if ok else 'DIFFERS') + ''.join('; ' + n for n in notes)
        except Skip as why:
            skipped['%s (%s)' % (file, why)] += 1
            return
        except Exception as error:  # whatever Keras raises is a result, and the other files still count
            ok, shown, result = False, '-', 'FAILED: %s: %s' % (type(error).__name__, str(error).strip().split('\n')[0][:200])
        counts[file] += 1
        failed += not ok
        if not ok or '-v' in os.environ.get('CHECK', ''):
            print('%-34s %-20s %-10s %s' % (name, file, shown, result))
        keras.backend.clear_session()

    refused = 0
    for folder, _, files in sorted(os.walk(converted, followlinks=True)):
        name = os.path.relpath(folder, converted)
        case = os.path.join(golden, name)
        if name == 'into':
            for file in sorted(files):
                one(name, file, lambda: check_into(folder, golden, file))
        elif name.startswith('sources' + os.sep):
            one(name, 'source', lambda: check_source(folder, golden, os.path.basename(name)))
        elif 'weights.npz' in files:
            present = [f for f in files if f.split('.')[-1] in ('h5', 'keras', 'npz', 'safetensors')]
            present += ['tf2_checkpoint'] if 'tf2_checkpoint.index' in files else []
            for file in sorted(present):
                one(name, file, lambda: check(folder, case, name, file))
        elif 'refused.txt' in files:
            refused += 1
    for file, count in sorted(counts.items()):
        print('%-22s %4d compared' % (file, count))
    for file, count in sorted(skipped.items()):
        print('%-22s %4d not for this Keras' % (file, count))
    print('%d cases refused by gatewise' % refused)
    print('%d files compared, %d failed, largest difference %.3f of what is allowed' % (sum(counts.values()), failed, worst))
    if not counts:
        print('nothing compared: is CONVERTED_DIR right?')
    sys.exit(1 if failed or not counts else 0)


if __name__ == '__main__':
    main()
