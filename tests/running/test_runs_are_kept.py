"""What loses or falsifies a run: clocks set back, a second start, damaged manifests, full disks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.folder_lock import FolderLock
from mmrbgan_model.checkpoints.checkpointing import CheckpointFolder

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
HOLD = """
import sys
from mmrbgan_arch.support.folder_lock import FolderLock
lock = FolderLock(sys.argv[1], '')
lock.take()
print('taken', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_run.make_faces('faces')
    return tmp_path


def a_set(folder, iteration):
    state = {'epoch': 0, 'iter': iteration, 'optimizers': [], 'schedulers': []}
    folder.save(state, {'g': {'params': {'weight': torch.full((1,), float(iteration))}}})


def test_a_clock_set_back_prunes_the_oldest_set_and_not_the_newest(tmp_path):
    folder = CheckpointFolder(tmp_path / 'models', tmp_path / 'training_states', keep=2)
    for iteration in (2, 4, 6):
        a_set(folder, iteration)
        for path in tmp_path.rglob('*'):  # what was written until now lies in the future
            os.utime(path, (2e9, 2e9))
        folder.prune(set())
    assert sorted(path.stem for path in folder.states.glob('*.json')) == ['4', '6']
    assert folder.newest().stem == '6'


def test_a_run_that_went_back_counts_as_newer(tmp_path):
    folder = CheckpointFolder(tmp_path / 'models', tmp_path / 'training_states', keep=0)
    for iteration in (2, 4, 6, 3):
        a_set(folder, iteration)
    assert folder.newest().stem == '3'


@pytest.mark.parametrize(
    'damage',
    [
        {},
        {'files': {}},
        {'files': None},
        {'files': {'training_states/4.state': 3}},
        {'iter': 'x'},
        {'files': {'../x': {}}},
    ],
)
def test_a_damaged_manifest_is_skipped_for_the_older_set(tmp_path, damage):
    folder = CheckpointFolder(tmp_path / 'models', tmp_path / 'training_states', keep=0)
    a_set(folder, 2)
    a_set(folder, 4)
    manifest = folder.states / '4.json'
    whole = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**whole, **damage} if damage else {}))
    assert folder.newest().stem == '2'
    assert folder.results(4) == (None, set())


def test_a_folder_is_taken_once_and_given_up_at_death(tmp_path):
    target = tmp_path / 'run'
    with subprocess.Popen([sys.executable, '-c', HOLD, str(target)], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout.readline() == 'taken\n'
        with pytest.raises(UsageError, match=rf'is being written by process {holder.pid} on .*; wait'):
            FolderLock(target, 'wait').take()
        holder.kill()
    with FolderLock(target, 'wait'):
        assert (tmp_path / '.run.lock').exists()
    assert list(tmp_path.iterdir()) == []


def test_a_second_start_is_one_line_and_renames_nothing(folder, capfd):
    home = folder / 'experiments/tiny'
    (home / 'models').mkdir(parents=True)
    with subprocess.Popen([sys.executable, '-c', HOLD, str(home)], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout.readline() == 'taken\n'
        assert tiny_run.start(tiny_run.options()) == 2
        assert tiny_run.start(tiny_run.options(), '--auto_resume') == 2
        holder.kill()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2 and all('is being written by process' in line for line in lines)
    assert [path.name for path in Path('experiments').iterdir() if not path.name.startswith('.')] == ['tiny']


def test_a_full_disk_in_a_validation_is_one_line(folder, monkeypatch, capfd):
    def fill(*_):
        raise OSError(28, 'No space left on device', 'sheet.png')

    monkeypatch.setattr('mmrbgan_model.validation.write_bytes', fill)
    content = tiny_run.options(train={'total_iter': 4})
    assert tiny_run.start(content) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith('error: ') and 'No space left on device' in last


def test_the_metric_that_the_error_line_suggests_runs_and_the_eta_is_not_negative(folder):
    content = tiny_run.options(
        train={'total_iter': 4}, val={'val_freq': 4, 'metrics': {'psnr': {'type': 'calculate_psnr'}}}
    )
    assert tiny_run.start(content) == 0
    log = next(Path('experiments/tiny').glob('*.log')).read_text()
    assert 'eta: -' not in log and 'psnr' in log


def test_a_missing_wandb_is_one_line_before_anything_is_renamed(folder, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    (folder / 'experiments/tiny/models').mkdir(parents=True)
    logger = {'use_tb_logger': True, 'wandb': {'project': 'faces'}}
    assert tiny_run.start(tiny_run.options(logger=logger)) == 2
    assert 'mmrbgan[wandb]' in capfd.readouterr().err
    assert [path.name for path in Path('experiments').iterdir()] == ['tiny']
