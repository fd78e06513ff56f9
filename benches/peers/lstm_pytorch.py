"""PyTorch's LSTM, through cuDNN where there is an NVIDIA GPU and on the CPU elsewhere, as a peer of `gatewise bench`: see lstm_case.py.

TF32 is off: products are float32's own, as gatewise's are.
"""
import numpy as np
import torch

from lstm_case import serve

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def make(case):
    # PyTorch's rows are in Keras's order of gates.
    lstm = torch.nn.LSTM(case.input, case.units, batch_first=True).to(DEVICE).eval()
    weights = {'weight_ih_l0': case.kernel.T, 'weight_hh_l0': case.recurrent.T, 'bias_ih_l0': case.bias,
               'bias_hh_l0': np.zeros_like(case.bias)}
    lstm.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in weights.items()})
    x = torch.from_numpy(case.x).to(DEVICE)

    def run():
        with torch.inference_mode():
            y, _ = lstm(x)
        if DEVICE.type == 'cuda':
            torch.cuda.synchronize()
        return y

    return run, lambda y: y.cpu().numpy()


name = torch.cuda.get_device_name() if DEVICE.type == 'cuda' else 'CPU'
serve('PyTorch', make, version=torch.__version__, device=name)
