"""Lets a full JSON Schema validator judge the schemas and documents of gatewise.

    python tests/interop/check_schemas.py GATEWISE tests/golden

GATEWISE is the built program. Needs the package jsonschema (4.18 or later). The tests in Rust judge by the few keywords
that the schemas use; this shows that a validator that knows them all agrees.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

GATEWISE, GOLDEN = sys.argv[1], Path(sys.argv[2])
SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"

schemas = {path.name.split(".")[0]: json.loads(path.read_text()) for path in sorted(SCHEMAS.glob("*.schema.json"))}
registry = Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in schemas.values())
validators = {}
for name, schema in schemas.items():
    Draft202012Validator.check_schema(schema)
    validators[name] = Draft202012Validator(schema, registry=registry)

judged, refused = 0, 0


def judge(name, document):
    """The document fits; without any one of its required fields, or with a field of another type, it does not."""
    global judged, refused
    errors = list(validators[name].iter_errors(document))
    assert not errors, (name, errors[0].message, list(errors[0].absolute_path))
    judged += 1
    for field in list(document):
        changed = dict(document)
        value = changed.pop(field)
        if field in schemas[name]["required"]:
            assert not validators[name].is_valid(changed), (name, "without", field)
        changed[field] = [[[value]]]
        assert not validators[name].is_valid(changed), (name, "another type", field)
        refused += 2


def run(*arguments):
    done = subprocess.run([GATEWISE, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 3), (arguments, done.stderr)
    return json.loads(done.stdout) if "json" in arguments else None


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / "key.pem"], check=True)
    small = ["--device", "cpu", "--sequences", "8", "--timesteps", "12", "--format", "json"]
    judge("devices", run("devices", "--format", "json"))
    for case in ["basic", "multi", "bidirectional", "peephole", "trained_adam_ema", "saved_model"]:
        judge("inspect", run("inspect", GOLDEN / case, "--format", "json"))
    judge("convert", run("convert", GOLDEN / "basic", "-o", folder / "a.npz", "--format", "json"))
    wrong = GOLDEN / "basic/keras2/wrong"
    for number, candidate in enumerate([GOLDEN / "basic/keras2/model.keras", *sorted(wrong.glob("*.*"))]):
        if candidate.suffix == ".json":
            continue
        plain, signed, bundle = folder / f"{number}.json", folder / f"{number}.signed.json", folder / f"bundle{number}"
        both = [GOLDEN / "basic", candidate]
        judge("verify", run("verify", *both, *small, "--certificate", plain, "--bundle", bundle))
        run("verify", *both, *small, "--certificate", signed, "--sign", folder / "key.pem")
        judge("certificate", json.loads(plain.read_text()))
        judge("envelope", json.loads(signed.read_text()))
        judge("check", run("check", plain, "--again", "--format", "json"))
        judge("check", run("check", signed, "--format", "json"))
        if bundle.exists():
            judge("bundle", json.loads((bundle / "bundle.json").read_text()))
            judge("replay", run("verify", "--bundle", bundle, "--format", "json"))

print(f"{len(schemas)} schemas; {judged} documents fit, {refused} changed ones do not")
