"""Options that a reader would call nonsense are refused before anything is made; mutated files end in one line."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
ROOT = Path(__file__).parents[2]
PAIRS = {'type': 'PairedImageDataset', 'dataroot_gt': '.', 'dataroot_lq': '.', 'io_backend': {'type': 'disk'}}
NONSENSE = {
    'a model that is a list': ({'model_type': ['MMRBGANModel']}, 'model_type'),
    'a data set that is nothing': ({'datasets': {'val': None}}, 'datasets.val: expected keys'),
    'a name that no file can have': ({'datasets': {'val': {'name': 'x' * 200}}}, 'longer than 150 bytes'),
    'a backend': ({'datasets': {'train': {'io_backend': {'type': 'tape'}}}}, "'tape' is none of"),
    'a phase': ({'datasets': {'val': {'phase': 'train'}}}, 'not that of the section'),
    'an enlargement': ({'scale': 4}, 'keeps the size'),
    'a rate of 3': ({'train': {'optim_d': {'lr': 3}}}, 'at most 0.1'),
    'a critic that does not learn': ({'train': {'optim_d': {'lr': 0}}}, 'above 0'),
    'a term without weight': ({'train': {'pixel_opt': {'loss_weight': 0}}}, 'remove the term'),
    'a schedule of two kinds': ({'train': {'scheduler': {'eta_min': 0.5}}}, 'MultiStepLR has no such key'),
    'milestones that fall': ({'train': {'scheduler': {'milestones': [5, 2]}}}, 'above the one before it'),
    'the worst is the best': (
        {'val': {'metrics': {'psnr': {'type': 'calculate_psnr', 'better': 'lower'}}}},
        'the wrong way round',
    ),
    'weights of a network that is not there': ({'path': {'pretrain_network__g': None}}, "did you mean 'pretrain_net"),
    'a network that is not resumed': ({'path': {'ignore_resume_networks': ['network_g']}}, 'resumes all'),
    'a device': (
        {'val': {'metrics': {'lpips': {'type': 'calculate_lpips', 'device': ' '}}}},
        "val.metrics.lpips.device: ' ' is no device",
    ),
    'statistics of nothing': ({'val': {'metrics': {'fid': {'type': 'fid', 'statistics': 0}}}}, 'fid.statistics: exp'),
    'weights that are not there': (
        {'val': {'metrics': {'lpips': {'type': 'calculate_lpips', 'weights': 'no.pth'}}}},
        'val.metrics.lpips.weights: there is no file no.pth',
    ),
    'noise of the other sign': ({'network_g': {'noise_start': -100}}, 'at least 0'),
}
NONSENSE_OF_SRMODEL = {
    'a range of another model': ({'network_g': {'image_range': [-1, 1]}}, 'images are [0, 1]'),
    'a sheet': ({'val': {'sheet_faces': 8}}, 'has no such key'),
    'an end before the end': (
        {'train': {'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [5]}}},
        'periods end at iteration 5',
    ),
    'a mean that is no colour': ({'datasets': {'train': {**PAIRS, 'mean': [1e30, 0, 0]}}}, 'at most 1'),
    'no rate': ({'train': {'optim_g': {'lr': 0}}}, 'above 0'),
}


def merged(content, changes):
    """Return ``content`` with the keys of ``changes``, sections within sections."""
    content = copy.deepcopy(content)
    for key, value in changes.items():
        inside = isinstance(value, dict) and isinstance(content.get(key), dict)
        content[key] = merged(content[key], value) if inside else value
    return content


def for_srmodel():
    content = tiny_run.options(model_type='SRModel', datasets={'train': {**PAIRS, 'gt_size': 64}})
    del content['network_d'], content['network_d_component']
    content['network_g']['image_range'] = [0, 1]
    content['val'] = {'val_freq': 4}
    content['train'] = {
        'total_iter': 8,
        'optim_g': {'lr': 1e-3},
        'scheduler': {'type': 'MultiStepLR', 'milestones': [4]},
        'pixel_opt': {'type': 'L1Loss'},
    }
    return content


def check(content):
    import mmrbgan.plugin  # noqa: F401
    from mmrbgan.running.options import option_checks, run_yml

    option_checks.check_options(run_yml.fill_defaults(content, is_train=True), is_train=True)


@pytest.mark.parametrize('what', NONSENSE)
def test_nonsense_is_refused(what):
    check(tiny_run.options())
    changes, expected = NONSENSE[what]
    with pytest.raises(UsageError) as caught:
        check(merged(tiny_run.options(), changes))
    assert expected in str(caught.value)


@pytest.mark.parametrize('what', NONSENSE_OF_SRMODEL)
def test_nonsense_for_srmodel_is_refused(what):
    check(for_srmodel())
    changes, expected = NONSENSE_OF_SRMODEL[what]
    content = for_srmodel()
    if 'scheduler' in changes.get('train', {}):
        del content['train']['scheduler']
    with pytest.raises(UsageError) as caught:
        check(merged(content, changes))
    assert expected in str(caught.value)


def test_an_override_by_nothing_is_one_line(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    tiny_run.make_faces('faces')
    flags = ('--force_yml', 'datasets:val=none', 'datasets:val_2=none')
    assert tiny_run.start(tiny_run.options(), *flags) == 2
    assert capfd.readouterr().err == 'error: datasets.val: expected keys and values, found None\n'


def test_a_restorer_of_others_is_read_before_folders_are_made(tmp_path, monkeypatch, capfd):
    pytest.importorskip('spandrel')
    monkeypatch.chdir(tmp_path)
    tiny_run.make_faces('faces')
    Path('peer.pth').write_bytes(b'nothing')
    content = tiny_run.options(network_g={'type': 'SpandrelNet', 'weights': 'peer.pth'})
    content['datasets'] = {'test': content['datasets']['val']}
    assert tiny_run.start(content, command='test') == 2
    assert 'peer.pth is not a network for spandrel' in capfd.readouterr().err
    assert not Path('results').exists()


def test_missing_memory_is_one_line(tmp_path, monkeypatch, capfd):
    import torch

    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    monkeypatch.chdir(tmp_path)
    tiny_run.make_faces('faces')
    monkeypatch.setattr(MMRBGANModel, 'optimize_parameters', lambda *_: torch.empty(2**60, dtype=torch.uint8))
    assert tiny_run.start(tiny_run.options()) == 2
    assert capfd.readouterr().err.splitlines()[-1].startswith('error: out of memory; lower batch_size_per_gpu')


def test_mutated_files_end_in_one_line_or_run():
    """A small share of what benchmarks/results/fuzz_options.txt has."""
    command = [
        sys.executable,
        str(ROOT / 'benchmarks/fuzz_options.py'),
        '--count',
        '30',
        '--seed',
        '7',
        '--shards',
        '1',
    ]
    files = ['--file', 'train_mmrbgan_quick', '--file', 'train_srmodel', '--file', 'test_lfw']
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([*command, *files], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    counts = next(line for line in done.stdout.splitlines() if line.startswith('30 mutations'))
    assert '0 traceback, 0 hang, 0 left behind, 0 wrote outside, 0 other' in counts, done.stdout
