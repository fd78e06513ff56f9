"""ONNX Runtime's LSTM operator on the CPU, as a peer of `gatewise bench`: see lstm_case.py."""
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lstm_case import serve


def reorder(weights):
    """Columns i, f, c, o to rows i, o, f, c, which is ONNX's order."""
    i, f, c, o = np.split(weights, 4, axis=-1)
    return np.concatenate([i, o, f, c], axis=-1).T[None]


def make(case):
    tensors = {
        'w': reorder(case.kernel),
        'r': reorder(case.recurrent),
        'b': np.concatenate([reorder(case.bias), np.zeros((1, 4 * case.units), np.float32)], axis=1),
    }
    node = helper.make_node('LSTM', ['x', *tensors], ['y'], hidden_size=case.units)
    graph = helper.make_graph(
        [node], 'lstm',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [case.timesteps, case.sequences, case.input])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [case.timesteps, 1, case.sequences, case.units])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in tensors.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 14)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    # ONNX Runtime wants the steps first, and is given them so: turning the input round is not part of the time.
    x = np.ascontiguousarray(case.x.swapaxes(0, 1))
    return lambda: session.run(['y'], {'x': x})[0], lambda y: y[:, 0].swapaxes(0, 1)


serve('ONNX Runtime', make, version=onnxruntime.__version__, device='CPU')
