"""What the LSTM peers share: the weights and inputs of a shape, its truth in float64, and how a driver asks for times.

A peer is a program that is given shapes `sequences,timesteps,input,units` and keeps running. It prints one JSON line about itself, then
answers each line `SHAPE RUNS` on its standard input with one JSON line: milliseconds of RUNS runs, and the largest error of their last
output against float64.
"""
import json
import sys
import time

import numpy as np

# Output that is further from the truth than this was not computed as asked, and has no time.
LARGEST_ERROR = 1e-4
# Sequences whose truth is computed.
CHECKED = 2


class Case:
    """Weights in Keras's layout (columns i, f, c, o), and an input `[sequences, timesteps, input]`."""

    def __init__(self, shape):
        self.sequences, self.timesteps, self.input, self.units = self.shape = shape
        draw = np.random.RandomState(0)
        uniform = lambda *size: draw.uniform(-1, 1, size) / np.sqrt(self.units)
        self.kernel = uniform(self.input, 4 * self.units).astype(np.float32)
        self.recurrent = uniform(self.units, 4 * self.units).astype(np.float32)
        self.bias = uniform(4 * self.units).astype(np.float32)
        self.x = draw.standard_normal((self.sequences, self.timesteps, self.input)).astype(np.float32)
        self.truth = self.run_in_float64()

    def run_in_float64(self):
        """Outputs of the first and the last sequence, `[2, timesteps, units]`."""
        sigmoid = lambda v: 1 / (1 + np.exp(-v))
        x = self.x[self.checked()].astype(np.float64)
        h = c = np.zeros((len(x), self.units))
        outputs = []
        for t in range(self.timesteps):
            i, f, g, o = np.split(x[:, t] @ self.kernel + h @ self.recurrent + self.bias, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        return np.stack(outputs, axis=1)

    def checked(self):
        return sorted({0, self.sequences - 1})[:CHECKED]

    def error(self, output):
        """The largest error of an output `[sequences, timesteps, units]`."""
        if output.shape != (self.sequences, self.timesteps, self.units):
            sys.exit(f'the output is {output.shape}: expected {(self.sequences, self.timesteps, self.units)}')
        return float(np.abs(output[self.checked()] - self.truth).max())


def serve(name, make, **about):
    """Runs a peer. `make(case)` gives a function without arguments that runs once, and one that brings its result to the order
    `[sequences, timesteps, units]`."""
    shapes = [tuple(int(n) for n in text.split(',')) for text in sys.argv[1:]]
    if not shapes or any(len(shape) != 4 for shape in shapes):
        sys.exit(f'usage: python {sys.argv[0]} SEQUENCES,TIMESTEPS,INPUT,UNITS ...')
    cases = {}
    for shape in shapes:
        case = Case(shape)
        started = time.perf_counter()
        run, bring = make(case)
        bring(run())
        cases[shape] = (case, run, bring, (time.perf_counter() - started) * 1e3)
    first = {','.join(map(str, shape)): first for shape, (_, _, _, first) in cases.items()}
    print(json.dumps({'name': name, 'first_run_ms': first, **about}), flush=True)
    for line in sys.stdin:
        shape, runs = line.split()
        case, run, bring, _ = cases[tuple(int(n) for n in shape.split(','))]
        times = []
        for _ in range(int(runs)):
            started = time.perf_counter()
            output = run()
            times.append((time.perf_counter() - started) * 1e3)
        error = case.error(bring(output))
        print(json.dumps({'ms': times, 'error': error, 'verified': error <= LARGEST_ERROR}), flush=True)
