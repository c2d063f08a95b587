import functools

import numpy as np
import pytest
import torch

from mmrbgan_arch.support.atomic_files import MARK
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model.checkpoints import rng_state, run_files
from mmrbgan_model.checkpoints.checkpointing import CheckpointFolder, load_state


def write_set(folder, iteration, value=0.0):
    state = {'epoch': 0, 'iter': iteration, 'optimizers': [], 'schedulers': []}
    folder.save(state, {'g': {'params': {'w': torch.full((3,), value)}, 'params_ema': {'w': torch.zeros(3)}}})


@pytest.fixture
def folder(tmp_path):
    found = CheckpointFolder(tmp_path / 'models', tmp_path / 'training_states', keep=2)
    for iteration in (5, 10, 15):
        write_set(found, iteration)
    return found


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_the_layout_is_basicsrs_and_loads_without_pickle(folder):
    weights = torch.load(folder.models / 'net_g_15.pth', weights_only=True)
    assert set(weights) == {'params', 'params_ema'}
    assert load_state(folder.states / '15.state')['iter'] == 15


@pytest.mark.parametrize(
    ('harm', 'file', 'reason'),
    [
        (truncate, 'models/net_g_15.pth', 'bytes instead of'),
        (damage, 'models/net_g_15.pth', 'changed or damaged'),
        (damage, 'training_states/15.state', 'changed or damaged'),
        (lambda path: path.unlink(), 'models/net_g_15.pth', 'is missing'),
        (lambda path: path.unlink(), 'training_states/15.json', 'no manifest'),
        (lambda path: path.write_text('{'), 'training_states/15.json', 'not readable'),
    ],
)
def test_the_newest_whole_set_is_found_and_the_reason_told(folder, caplog, harm, file, reason):
    harm(folder.states.parent / file)
    assert folder.newest() == folder.states / '10.state'
    assert 'iteration 15 is skipped' in caplog.text and reason in caplog.text


def test_nothing_whole_is_nothing(tmp_path):
    assert CheckpointFolder(tmp_path / 'models', tmp_path / 'states', 1).newest() is None


def test_pruning_keeps_the_last_and_the_best(folder):
    write_set(folder, 20)
    folder.prune(best={5})
    assert sorted(path.name for path in folder.states.iterdir()) == sorted(
        f'{iteration}.{ending}' for iteration in (5, 15, 20) for ending in ('json', 'state')
    )
    assert sorted(path.name for path in folder.models.iterdir()) == ['net_g_15.pth', 'net_g_20.pth', 'net_g_5.pth']


def test_basicsrs_own_files_are_never_pruned(folder):
    torch.save({'params': {}}, folder.models / 'net_g_1.pth')
    folder.prune(best=set())
    assert (folder.models / 'net_g_1.pth').is_file()


def test_a_set_that_is_written_again_is_incomplete_meanwhile(folder, monkeypatch):
    def full(path, write):
        raise UsageError('full')

    monkeypatch.setattr('mmrbgan_model.checkpoints.checkpointing.write_run_file', full)
    with pytest.raises(UsageError):
        write_set(folder, 15)
    assert not folder.is_complete(15) and folder.newest() == folder.states / '10.state'


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    def fail(file):
        file.write(b'half')
        raise OSError(28, 'No space left on device')

    path = tmp_path / 'x.pth'
    path.write_bytes(b'good')
    with pytest.raises(UsageError, match='No space left on device'):
        run_files.write_run_file(path, fail)
    assert path.read_bytes() == b'good' and list(tmp_path.iterdir()) == [path]


def test_leavings_of_killed_processes_are_swept(folder):
    part = folder.models / f'.mmrbgan{MARK}123'
    part.write_bytes(b'half')
    folder.newest()
    assert not part.exists()


def test_results_of_a_validation_join_the_set(folder):
    folder.note_results(15, {'val': {'psnr': {'val': 30.0, 'iter': 15}}}, {'val'})
    best, validated = folder.results(15)
    assert best['val']['psnr']['iter'] == 15 and validated == {'val'}
    assert folder.results(10) == (None, set())
    assert folder.newest() == folder.states / '15.state'


def test_a_run_that_went_back_keeps_and_resumes_what_it_saved_since(folder):
    write_set(folder, 7)
    folder.prune(best=set())
    assert sorted(path.name for path in folder.states.glob('*.json')) == ['15.json', '7.json']
    assert folder.newest() == folder.states / '7.state'


def test_sets_of_basicsr_are_ordered_by_iteration_and_older_than_ours(folder):
    for iteration in (100, 20, 9):  # written in any order, as copying does
        (folder.states / f'{iteration}.state').write_bytes((folder.states / '15.state').read_bytes())
    for path in (*folder.states.glob('*.json'), folder.states / '15.state', folder.states / '10.state'):
        path.unlink()
    assert folder._by_age([9, 100, 20]) == [9, 20, 100]
    write_set(folder, 30)
    assert folder._by_age([9, 100, 20, 30]) == [9, 20, 100, 30]


def test_the_latest_weights_are_a_copy(folder):
    write_set(folder, 20, value=2.0)
    folder.publish(20)
    latest = folder.models / 'net_g_latest.pth'
    assert latest.read_bytes() == (folder.models / 'net_g_20.pth').read_bytes()


def test_a_file_with_code_in_it_is_refused(tmp_path):
    path = tmp_path / '3.state'
    torch.save({'epoch': 0, 'iter': 3, 'optimizers': functools.partial(print, 1), 'schedulers': []}, path)
    with pytest.raises(UsageError, match='refused, since it holds more than tensors'):
        load_state(path)


def test_random_numbers_go_on_where_they_were(tmp_path):
    import random

    random.gauss(0, 1)
    np.random.normal()
    torch.save(rng_state.capture(), tmp_path / 'rng.pt')
    one = random.gauss(0, 1), np.random.normal(), torch.rand(3).tolist()
    rng_state.restore(torch.load(tmp_path / 'rng.pt', weights_only=True))
    assert (random.gauss(0, 1), np.random.normal(), torch.rand(3).tolist()) == one
