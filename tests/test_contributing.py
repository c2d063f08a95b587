"""Applies every recipe of CONTRIBUTING.md to one copy of the packages, then uses what they add."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmrbgan_arch import basicsr_bridge

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
ROOT = Path(__file__).parents[1]
FOLDERS = {
    'mmrbgan': 'mmrbgan',
    'mmrbgan_arch': 'mmrbgan_arch',
    'mmrbgan_model': 'mmrbgan_model',
    'data': 'mmrbgan_data',
}
BLOCK = re.compile(r'```python\n# (\S+), (?:(new)|(before|after) `([^`]+)`)\n(.*?)```', re.DOTALL)
RECIPES = {
    title: BLOCK.findall(text)
    for title, text in re.findall(
        r'^## How to add an? (\w[\w ]*)\n(.*?)(?=^## )',
        (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8'),
        re.DOTALL | re.MULTILINE,
    )
}
CHECKS = r"""
import contextlib, io, json, sys
import numpy as np, torch
import mmrbgan.plugin, tiny_run
from basicsr.archs import build_network
from basicsr.data import build_dataset
from mmrbgan.cli import main
from mmrbgan.running.options.option_checks import check_options
from mmrbgan_arch import load_network
from mmrbgan_arch.weights_io import write_weights
from mmrbgan_data import components, detection
from mmrbgan_data.images import write_image
from mmrbgan_data.prepare.summary import draw_face_marks
from mmrbgan_model.mmrbgan_model import MMRBGANModel

torch.set_num_threads(1)
tiny_run.make_faces('faces')
paths = dict.fromkeys(('experiments_root', 'models', 'training_states', 'visualization'), '.')


def train(**changes):
    off = dict.fromkeys(('pixel_opt', 'pyramid_opt', 'gan_opt', 'component_opt', 'r1_opt'))
    options = tiny_run.options(train=off | changes, path=paths)
    model = MMRBGANModel(options | {'is_train': True, 'dist': False, 'rank': 0, 'world_size': 1})
    section = options['datasets']['train'] | {'phase': 'train', 'name': 'faces'}
    batch = torch.utils.data.default_collate([build_dataset(section)[0]] * 2)
    before = [p.clone() for p in model.networks['net_g'].parameters()]
    model.update_learning_rate(1)
    model.feed_data(batch)
    model.optimize_parameters(1)
    moved = any(not torch.equal(a, b) for a, b in zip(before, model.networks['net_g'].parameters()))
    return sorted(model.get_current_log()), moved


def loss_term():
    return train(smoothness_opt={'loss_weight': 1})


def component():
    five = components.circles_from_landmarks(np.array([[20., 30], [44, 30], [32, 40], [24, 50], [40, 50]]), 64)
    image, k = np.zeros((64, 64, 3), np.uint8), len(components.COMPONENTS)
    draw_face_marks(image, np.zeros((k, 4)), np.ones(k, bool), None)
    return five[components.NAMES.index('nose')].tolist(), 'l_d_nose' in train(component_opt={'loss_weight': 1})[0]


def dataset():
    section = tiny_run.options()['datasets']['train'] | {'type': 'GreyDataset', 'phase': 'train', 'name': 'faces'}
    sample = build_dataset(section)[0]
    return bool((sample['lq'][0] == sample['lq'][2]).all()), bool((sample['gt'][0] == sample['gt'][2]).all())


def metric():
    from basicsr.metrics import calculate_metric
    from mmrbgan_model.metric_entries import score
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[32:] = 200
    write_image('restored/a.png', picture)
    status = main(['evaluate', 'restored', '--metrics', 'contrast', '--out', 'record.json'])
    record = json.load(open('record.json'))
    return status, record['summaries']['contrast']['mean'], score(picture, None, {"type": "calculate_contrast"})


def network():
    built = build_network({'type': 'LearnedFilter', 'taps': 3})
    write_weights('filter.pth', built.state_dict())
    check_options({**tiny_run.options(), 'network_g': {'type': 'LearnedFilter', 'taps': 3}, 'path': {}}, True)
    x = torch.rand(1, 3, 8, 8)
    return torch.equal(load_network('filter.pth')(x), built(x))


def detector():
    found = detection.make_detector('whole')(np.zeros((64, 64, 3), np.uint8))
    return len(found), found[0].landmarks.shape


def command():
    return main(['cite'])


out = {}
for name, check in {'loss term': loss_term, 'component': component, 'dataset': dataset, 'metric': metric,
                    'network': network, 'detector': detector, 'command': command}.items():
    try:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            out[name] = check()
        out[name] = out[name], said.getvalue()
    except Exception as error:
        out[name] = f'{type(error).__name__}: {error}'
print(json.dumps(out))
"""
EXPECTED = {
    'loss term': [['l_g_smoothness'], True],
    'component': [[32.5, 40.5, pytest.approx(4.8)], True],
    'dataset': [True, False],
    'metric': [0, pytest.approx(100), pytest.approx(100)],
    'network': True,
    'detector': [1, [5, 2]],
    'command': 0,
}


def apply(root, path, new, side, anchor, content):
    """Put one block where its first line says."""
    top, _, rest = path.partition('/')
    file = root / FOLDERS[top] / rest
    if new:
        assert not file.exists()
        file.write_text(content, encoding='utf-8')
        return
    text = file.read_text(encoding='utf-8')
    places = [match.start() for match in re.finditer(rf'^{re.escape(anchor)}', text, re.MULTILINE)]
    assert len(places) == 1, f'{path}: {anchor!r} begins {len(places)} lines'
    place = places[0] if side == 'before' else text.index('\n', places[0]) + 1
    file.write_text(text[:place] + content + text[place:], encoding='utf-8')


@pytest.fixture(scope='module')
def outcome(tmp_path_factory):
    """What the checks found in a copy to which all recipes were applied."""
    copy = tmp_path_factory.mktemp('copy')
    for folder, name in FOLDERS.items():
        shutil.copytree(ROOT / folder, copy / name, ignore=shutil.ignore_patterns('__pycache__', '*.safetensors'))
    for blocks in RECIPES.values():
        for block in blocks:
            apply(copy, *block)
    environment = {**os.environ, 'PYTHONPATH': f'{copy}{os.pathsep}{ROOT / "tests"}', 'OMP_NUM_THREADS': '1'}
    home = tmp_path_factory.mktemp('home')
    done = subprocess.run([sys.executable, '-c', CHECKS], cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_recipe_is_checked():
    assert set(RECIPES) == set(EXPECTED)


@pytest.mark.parametrize('title', RECIPES)
def test_a_recipe_does_what_it_says(outcome, title):
    found, said = outcome[title] if isinstance(outcome[title], list) else (outcome[title], '')
    assert found == EXPECTED[title]
    assert title != 'command' or 'arXiv 2205.14377' in said


@pytest.mark.parametrize('title', RECIPES)
def test_a_recipe_takes_at_most_twenty_lines_in_three_files(title):
    blocks = RECIPES[title]
    lines = [line for block in blocks for line in block[-1].splitlines() if line.strip()]
    assert blocks and len(lines) <= 20 and len({block[0] for block in blocks}) <= 3
