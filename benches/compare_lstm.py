"""Times LSTM inference with gatewise beside ONNX Runtime, Keras and PyTorch on the same shapes, and prints one table of ratios.

usage: python compare_lstm.py [--gatewise PROGRAM] [--onnxruntime PYTHON] [--keras PYTHON] [--pytorch PYTHON] [--device cpu]
                              [--rounds 5] [SEQUENCES,TIMESTEPS,INPUT,UNITS ...]

Each PYTHON is an interpreter that has the packages of peers/requirements-lstm.txt that this peer needs; a peer without one is left out.
This script itself needs the standard library alone. All sides take turns, shape by shape and round by round, so that a busy machine
slows all of them. A time counts only if the output it belongs to was checked: by gatewise against its own oracle, by the peers against
numpy in float64. Otherwise exits with 1.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHAPES = ['1,50,20,100', '32,100,128,256', '256,100,128,256', '64,50,512,1024']
PEERS = {'onnxruntime': 'lstm_onnxruntime.py', 'keras': 'lstm_keras.py', 'pytorch': 'lstm_pytorch.py'}
# A turn of each side runs until this much time has passed, or so often.
TURN_MS, MOST_RUNS = 400, 200
# `gatewise bench` repeats what is shorter than this within a round, and takes at least so many rounds; its first run, and the one
# it judges by, come on top.
ROUND_MS, FEWEST_ROUNDS = 20, 3


def fail(message):
    sys.exit(f'no timing: {message}')


class Peer:
    """A program that is asked for times: see peers/lstm_case.py."""

    def __init__(self, python, script, shapes):
        command = [python, str(HERE / 'peers' / script), *shapes]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        about = self.read()
        self.name = f'{about["name"]} {about["version"]} ({about["device"]})'
        self.runs = {}

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            fail(f'{self.process.args} ended with {self.process.wait()}')
        return json.loads(line)

    def turn(self, shape):
        """Milliseconds of one run, the median of a turn."""
        self.process.stdin.write(f'{shape} {self.runs.get(shape, 1)}\n')
        self.process.stdin.flush()
        answer = self.read()
        if not answer['verified']:
            fail(f'{self.name} is {answer["error"]} from the truth in {shape}')
        took = statistics.median(answer['ms'])
        self.runs[shape] = max(1, min(MOST_RUNS, int(TURN_MS / took)))
        return took

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Gatewise:
    """`gatewise bench`, with the implementations that matter here."""

    def __init__(self, program, device):
        self.program, self.device = program, device
        self.rounds = {}
        self.implementations = 'cpu-tf1,cpu-keras' if device == 'cpu' else 'kernel-tf1,kernel-keras'

    def turn(self, shape):
        """Milliseconds of one run of each implementation."""
        sequences, timesteps, inputs, units = shape.split(',')
        rounds = self.rounds.get(shape, FEWEST_ROUNDS)
        command = [self.program, 'bench', '--device', self.device, '--implementation', self.implementations, '--format', 'json',
                   '--rounds', str(rounds), '--sequences', sequences, '--timesteps', timesteps, '--input', inputs,
                   '--units', units]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            fail(f'{command} ended with {done.returncode}')
        document = json.loads(done.stdout)
        self.peak = document['device']['peak_gflops']
        found = {f'gatewise {r["implementation"]}': r['median_ms'] for r in document['results']}
        self.rounds[shape] = max(FEWEST_ROUNDS, int(TURN_MS / max(ROUND_MS, *found.values())))
        return found


def measure(gatewise, peers, shapes, rounds):
    """Times by shape and name. A first round that is not counted warms everything up."""
    times = {shape: {} for shape in shapes}
    for turn in range(rounds + 1):
        for shape in shapes:
            found = gatewise.turn(shape)
            for peer in peers:
                found[peer.name] = peer.turn(shape)
            if turn > 0:
                for name, took in found.items():
                    times[shape].setdefault(name, []).append(took)
    return times


def print_table(shape, times):
    sequences, timesteps, inputs, units = map(int, shape.split(','))
    operations = 8 * units * (inputs + units) * sequences * timesteps
    ours = min((statistics.median(t), name) for name, t in times.items() if name.startswith('gatewise'))[1]
    print(f'\n{sequences} sequences x {timesteps} steps, {inputs} inputs, {units} units')
    print(f'  {"":44} {"median":>10}  {"min - max":>19}  {"GFLOP/s":>8}  {"gatewise is faster by":>22}')
    for name, took in times.items():
        median = statistics.median(took)
        ratios = [other / our for other, our in zip(took, times[ours])]
        ratio = f'{median / statistics.median(times[ours]):.2f} ({min(ratios):.2f} - {max(ratios):.2f})'
        print(f'  {name:44} {median:7.3f} ms  {min(took):8.3f} - {max(took):8.3f}  {operations / median / 1e6:8.1f}  {ratio:>22}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--gatewise', default='gatewise', help='program to time (default: from PATH)')
    for peer in PEERS:
        parser.add_argument(f'--{peer}', metavar='PYTHON', help=f'interpreter that has {peer}')
    parser.add_argument('--device', default='cpu', help='device of gatewise (default cpu)')
    parser.add_argument('--rounds', type=int, default=5, help='turns of each, after one that is not counted (default 5)')
    parser.add_argument('shapes', nargs='*', default=SHAPES, help=f'default {" ".join(SHAPES)}')
    options = parser.parse_args()
    asked = [(getattr(options, name), script) for name, script in PEERS.items() if getattr(options, name)]
    peers = [Peer(python, script, options.shapes) for python, script in asked]
    gatewise = Gatewise(options.gatewise, options.device)
    times = measure(gatewise, peers, options.shapes, options.rounds)
    for peer in peers:
        peer.end()
    print(f'{len(os.sched_getaffinity(0))} cores; load after {os.getloadavg()[0]:.2f}; {options.rounds} rounds, taking turns; '
          f'peak of the device {gatewise.peak:.0f} GFLOP/s')
    for shape, found in times.items():
        print_table(shape, found)


if __name__ == '__main__':
    main()
