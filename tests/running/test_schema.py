"""Option files against the JSON schema that editors use, and the documents made from the same descriptions."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmrbgan_arch import basicsr_bridge

jsonschema = pytest.importorskip('jsonschema')
pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / 'options').rglob('*.yml'))


@pytest.fixture(scope='module')
def validator():
    return jsonschema.Draft202012Validator(json.loads((ROOT / 'options/schema.json').read_text(encoding='utf-8')))


def load(path):
    from mmrbgan.running.options.run_yml import load_yml

    return load_yml(path)


def sections(value, place=()):
    """Yield the place of every mapping whose keys are options."""
    if isinstance(value, dict):
        yield place
        for key, item in value.items():
            yield from sections(item, (*place, key))


def at(options, place):
    for key in place:
        options = options[key]
    return options


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_every_option_file_names_the_schema_and_fits_it(path, validator):
    first = path.read_text(encoding='utf-8').splitlines()[0]
    named = first.removeprefix('# yaml-language-server: $schema=')
    assert (path.parent / named).resolve() == ROOT / 'options/schema.json'
    assert [f'{list(fault.absolute_path)}: {fault.message}' for fault in validator.iter_errors(load(path))] == []


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_a_mistyped_key_is_flagged_in_every_section(path, validator):
    options = load(path)
    for place in sections(options):
        if place[-1:] in (('datasets',), ('metrics',)):
            continue  # their keys are names
        wrong = copy.deepcopy(options)
        at(wrong, place)['mistpyed'] = 1
        assert not validator.is_valid(wrong), place


@pytest.mark.parametrize(
    ('place', 'value'),
    [
        (('train', 'ema_decay'), 5),
        (('network_g', 'num_mlp'), 2**31),
        (('manual_seed',), -1),
        (('datasets', 'val', 'name'), '../../../x'),
        (('datasets', 'train', 'degradation', 'noise'), [0, 300]),
        (('path', 'strict_load_g'), 'abc'),
        (('val', 'metrics', 'psnr', 'better'), 'up'),
    ],
)
def test_a_value_out_of_range_is_flagged(validator, place, value):
    options = load(ROOT / 'options/train_mmrbgan.yml')
    at(options, place[:-1])[place[-1]] = value
    assert not validator.is_valid(options)


def test_the_documents_are_made_from_the_descriptions():
    """In a process of its own: other tests register networks and metrics."""
    code = 'import json, make_options as made; print(json.dumps([made.schema_text(), made.page()]))'
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT / 'docs', capture_output=True, encoding='utf-8', check=True
    )
    kept = [(ROOT / name).read_text(encoding='utf-8') for name in ('options/schema.json', 'docs/options.md')]
    assert kept == json.loads(done.stdout.splitlines()[-1]), 'run `python docs/make_options.py`'
