"""Times gatewise beside TensorFlow scripts that do the same work, in cold processes that take turns.

usage: python compare_with_tensorflow.py --python PYTHON [--gatewise PROGRAM] [--checkpoint DIR] [--sequences 64] [--large DIR]
                                         [--rounds 7]

PYTHON is an interpreter with peers/requirements.txt installed; this script itself needs the standard library alone, on Linux.
What `verify` is compared on is a small golden checkpoint, or one that make_lstm_checkpoint.py wrote (--checkpoint).
The DIR of --large is what make_large_checkpoint.py wrote; without it, only `verify` is compared.

A time counts only if its result is right: exit code 0, on one side verdict `pass` and on the other a small difference, over the
same LSTM and as many sequences and steps; the same SHA-256 of every tensor on both sides. Otherwise exits with 1.
"""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED_NAMES = HERE.parent / 'tests/golden/seed_names'
TIMESTEPS = 100
SMALL_DIFFERENCE = 1e-4
PACKAGES = '''
import importlib.metadata, platform
packages = ['tensorflow-cpu', 'keras', 'numpy']
print(', '.join(['Python ' + platform.python_version()] + [p + ' ' + importlib.metadata.version(p) for p in packages]))
'''


class Run:
    """One cold process: its output, and seconds of wall and processor, and peak memory."""

    def __init__(self, command):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            started = time.perf_counter()
            process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            _, status, usage = os.wait4(process.pid, 0)
            self.wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            self.out = out.read().decode()
            check(process.returncode == 0, f'{command} exited with {process.returncode}:\n{err.read().decode()[-2000:]}')
        self.cpu = usage.ru_utime + usage.ru_stime
        self.memory = usage.ru_maxrss * 1024
        self.phases = {name: float(seconds) for name, seconds in re.findall(r'^phase (.+): ([\d.]+) s$', self.out, re.M)}


def check(right, otherwise):
    if not right:
        sys.exit(f'no timing: {otherwise}')


class Table:
    """Times by row, in the order in which rows were first given."""

    def __init__(self, title, baseline, unit, amount):
        self.title, self.baseline, self.unit, self.amount = title, baseline, unit, amount
        self.rows, self.phases = {}, {}

    def add_phases(self, run):
        """Where a script's time went; what no phase covers is the interpreter's start and end."""
        for name, seconds in [*run.phases.items(), ('start and end', run.wall - without(run))]:
            self.phases.setdefault(name, []).append(seconds)

    def add(self, row, wall, cpu=None, memory=None):
        self.rows.setdefault(row, []).append((wall, cpu, memory))

    def print(self):
        print(f'\n{self.title}')
        print(f'  {"":46} {"median":>8}  {"min - max":>15}  {"ratio to gatewise":>22}  {"cpu":>7} {"peak":>8}  {self.unit:>9}')
        ours = [wall for wall, _, _ in self.rows[self.baseline]]
        for row, runs in self.rows.items():
            walls = [wall for wall, _, _ in runs]
            median = statistics.median(walls)
            ratios = [wall / our for wall, our in zip(walls, ours)]
            ratio = f'{median / statistics.median(ours):.2f} ({min(ratios):.2f} - {max(ratios):.2f})'
            cpu = f'{statistics.median(c for _, c, _ in runs):.3f} s' if runs[0][1] is not None else ''
            memory = f'{statistics.median(m for _, _, m in runs) / 1e6:.0f} MB' if runs[0][2] is not None else ''
            print(f'  {row:46} {median:6.3f} s  {min(walls):6.3f} - {max(walls):6.3f}  {ratio:>22}  {cpu:>7} {memory:>8}  '
                  f'{self.amount / median:9.0f}')
        print('  phases of the script: ' + ', '.join(f'{n} {statistics.median(s):.3f} s' for n, s in self.phases.items()))


def without(run, *phases):
    """Seconds of the phases other than these, without the interpreter's start and end."""
    return sum(seconds for name, seconds in run.phases.items() if name not in phases)


def verify_with_gatewise(options, *more):
    run = Run([options.gatewise, 'verify', '--format', 'json', '--sequences', options.sequences, '--timesteps', TIMESTEPS, *more,
               options.checkpoint])
    report = json.loads(run.out)
    check(report['verdict'] == 'pass', f'gatewise verify says {report["verdict"]}')
    [lstm] = report['lstms']
    check(len(lstm['timesteps']) == TIMESTEPS, f'gatewise compared {len(lstm["timesteps"])} steps')
    run.lstm, run.difference, run.device = lstm['name'], lstm['max_abs'], report['device']['name']
    return run


def verify_with_tensorflow(options):
    # The prefix rather than the folder: TensorFlow looks where the `checkpoint` file says, and the folder has moved since.
    run = Run([options.python, HERE / 'peers/verify_tensorflow.py', options.checkpoint / 'model.ckpt',
               '--sequences', options.sequences, '--timesteps', TIMESTEPS])
    steps = re.findall(r'^step +\d+ h \S+$', run.out, re.M)
    check(len(steps) == TIMESTEPS, f'the TensorFlow script compared {len(steps)} steps')
    run.lstm = re.search(r'^LSTM (\S+):', run.out, re.M)[1]
    run.difference = float(re.search(r'^largest difference (\S+)$', run.out, re.M)[1])
    check(run.difference <= SMALL_DIFFERENCE, f'the TensorFlow script found a difference of {run.difference}')
    return run


def compare_verify(options):
    table = Table(f'verify: {options.checkpoint.name}, {options.sequences} sequences of {TIMESTEPS} steps', 'gatewise verify',
                  'steps/s', options.sequences * TIMESTEPS)
    for turn in range(options.rounds + 1):
        ours = verify_with_gatewise(options)
        on_cpu = verify_with_gatewise(options, '--device', 'cpu')
        theirs = verify_with_tensorflow(options)
        check(ours.lstm == theirs.lstm, f'gatewise verified {ours.lstm}, the TensorFlow script {theirs.lstm}')
        if turn == 0:  # Fills the page cache.
            continue
        table.add('gatewise verify', ours.wall, ours.cpu, ours.memory)
        table.add('gatewise verify --device cpu', on_cpu.wall, on_cpu.cpu, on_cpu.memory)
        table.add('TensorFlow script', theirs.wall, theirs.cpu, theirs.memory)
        table.add('TensorFlow script, import not counted', without(theirs, 'import'))
        table.add_phases(theirs)
    table.print()
    print(f'  device {ours.device}; largest difference: gatewise {ours.difference:.2e}, script {theirs.difference:.2e}')


def inspect_with_gatewise(gatewise, large):
    run = Run([gatewise, 'inspect', '--format', 'json', large])
    run.hashes = {variable['name']: variable['sha256'] for variable in json.loads(run.out)['variables']}
    return run


def read_with_tensorflow(python, large):
    run = Run([python, HERE / 'peers/read_tensorflow.py', large])
    run.hashes = {name: digest for digest, name in re.findall(r'^([0-9a-f]{64})  (.+)$', run.out, re.M)}
    run.size = int(re.search(r'^\d+ tensors, (\d+) bytes$', run.out, re.M)[1])
    return run


def compare_inspect(options):
    table = None
    for turn in range(options.rounds + 1):
        ours = inspect_with_gatewise(options.gatewise, options.large)
        theirs = read_with_tensorflow(options.python, options.large)
        check(ours.hashes and ours.hashes == theirs.hashes, 'gatewise and TensorFlow read different tensors')
        table = table or Table(f'inspect: {len(ours.hashes)} variables, {theirs.size / 1e6:.1f} MB, SHA-256 of every one the same on '
                               'both sides', 'gatewise inspect (reads and hashes)', 'MB/s', theirs.size / 1e6)
        if turn == 0:  # Fills the page cache.
            continue
        table.add('gatewise inspect (reads and hashes)', ours.wall, ours.cpu, ours.memory)
        table.add('load_checkpoint + get_tensor', theirs.wall - theirs.phases['hash'])
        table.add('load_checkpoint + get_tensor, no import', without(theirs, 'import', 'hash'))
        table.add('the same + SHA-256', theirs.wall, theirs.cpu, theirs.memory)
        table.add('the same + SHA-256, no import', without(theirs, 'import'))
        table.add_phases(theirs)
    table.print()


def processor():
    try:
        return re.search(r'^model name\s*: (.+)$', Path('/proc/cpuinfo').read_text(), re.M)[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def load():
    return ' '.join(f'{average:.2f}' for average in os.getloadavg())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--python', required=True, help='interpreter with peers/requirements.txt installed')
    parser.add_argument('--gatewise', default='gatewise', help='program to time (default: from PATH)')
    parser.add_argument('--checkpoint', type=Path, default=SEED_NAMES,
                        help='folder with a model.ckpt to verify (default tests/golden/seed_names)')
    parser.add_argument('--sequences', type=int, default=64, help='sequences to verify with (default 64)')
    parser.add_argument('--large', type=Path, help='folder that make_large_checkpoint.py wrote')
    parser.add_argument('--rounds', type=int, default=7, help='processes of each kind, after one that is not counted (default 7)')
    options = parser.parse_args()
    version = Run([options.gatewise, '--version']).out.strip()
    packages = Run([options.python, '-c', PACKAGES]).out.strip()
    print(f'{version}; {packages}')
    print(f'{processor()}, {len(os.sched_getaffinity(0))} cores; load before {load()}; '
          f'{options.rounds} rounds, cold processes, warm page cache')
    compare_verify(options)
    if options.large:
        compare_inspect(options)
    print(f'\nload after {load()}')


if __name__ == '__main__':
    main()
