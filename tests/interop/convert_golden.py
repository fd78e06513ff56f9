"""Lets gatewise convert every golden case to every format, for check_converted.py.

usage: python convert_golden.py GATEWISE GOLDEN_DIR OUT_DIR      (any Python 3)

OUT_DIR/CASE/ gets the formats below, or refused.txt with what gatewise said; OUT_DIR/into/ the models of ../models with their
LSTM and Dense layers filled from seed_names; OUT_DIR/sources/ the layers of old Kerases (CuDNNLSTM, Keras 1) as LSTM layers.
"""
import os, subprocess, sys, tempfile

FORMATS = [('legacy.h5', []), ('model.weights.h5', ['--keras', '2']), ('model3.weights.h5', ['--keras', '3']), ('model2.keras', ['--keras', '2']),
           ('model3.keras', ['--keras', '3']), ('weights.npz', []), ('weights.safetensors', []), ('tf2_checkpoint', ['--to', 'tf2-checkpoint'])]
MAP = '''[[lstm]]
name = "lstm/basic_lstm_cell"
keras = "reader"

[[layer]]
keras = "answer"
kernel = "output_layer/kernel"
bias = "output_layer/bias"
'''


def cases(golden):
    for group in ('', 'old', 'cells', 'graphs'):
        for name in sorted(os.listdir(os.path.join(golden, group))):
            case = os.path.join(group, name)
            if os.path.exists(os.path.join(golden, case, 'case.json')):
                yield case


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    gatewise, golden, out = sys.argv[1:]

    def convert(source, output, *options):
        os.makedirs(os.path.dirname(output), exist_ok=True)
        done = subprocess.run([gatewise, 'convert', source, '-o', output, '--quiet'] + list(options), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return done.returncode, done.stderr.decode()

    written, refused = 0, 0
    for case in cases(golden):
        # Which of both counts is the user's to say.
        both = ['--weights', 'raw'] if case in ('trained_adam_ema', 'graphs/ema_both', 'graphs/ema_swapped', 'graphs/ema_named', 'graphs/ema_scoped') else []
        for name, options in FORMATS:
            code, message = convert(os.path.join(golden, case), os.path.join(out, case, name), *(options + both))
            if code not in (0, 2):
                sys.exit('%s to %s: exit code %d: %s' % (case, name, code, message))
            written += code == 0
            if code == 2:
                refused += 1
                with open(os.path.join(out, case, 'refused.txt'), 'a') as file:
                    file.write('%s: %s' % (name, message))
    models = os.path.join(golden, '..', 'models')
    with tempfile.NamedTemporaryFile('w', suffix='.toml') as file:
        file.write(MAP)
        file.flush()
        for model in ('keras2.h5', 'keras2.keras', 'keras3.keras', 'keras3.weights.h5'):
            code, message = convert(os.path.join(golden, 'seed_names'), os.path.join(out, 'into', model), '--into', os.path.join(models, model), '--map', file.name)
            if code:
                sys.exit('into %s: %s' % (model, message))
            written += 1
    old = os.path.join(golden, '..', '..', 'crates', 'keras-file', 'tests', 'models', 'old')
    for source in ('cudnn_stack', 'cudnn_both_ways', 'keras1_real', 'keras1_both_ways'):
        code, message = convert(os.path.join(old, source + '.model.h5'), os.path.join(out, 'sources', source, 'weights.npz'))
        if code:
            sys.exit('%s: %s' % (source, message))
        written += 1
    print('%d files written, %d times refused' % (written, refused))


if __name__ == '__main__':
    main()
