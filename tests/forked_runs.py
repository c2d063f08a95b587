"""Runs that are killed: a process that has imported everything forks them, so that one costs no start of Python.

Called as ``forked_runs.py kills``, ``ranks`` or ``quick`` in a folder with faces/; fails loudly.
"""

import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

import tiny_run
import torch
import yaml

from mmrbgan.running import runner
from mmrbgan_model.mmrbgan_model import MMRBGANModel

ITERATIONS = 14
QUICK_OPTIONS = Path(__file__).parents[1] / 'options/train_mmrbgan_quick.yml'
ended = set()


def fork(content, *flags, **changes):
    """Start a run in a child with a process group of its own; return its id."""
    return fork_file(tiny_run.write_yml(content, f'{content["name"]}.yml'), *flags, **changes)


def fork_file(path, *flags, environment=(), precise=False):
    """The same from an option file; ``precise``: every network, picture and random number in float64."""
    child = os.fork()
    if child:
        os.setpgid(child, child)  # here too, so that a kill a moment later finds the group
        ended.discard(child)
        return child
    status = 99
    try:
        os.setpgid(0, 0)
        os.environ.update(environment)
        if precise:
            in_float64()
        status = runner.main(['train', '-opt', path, *flags])
    finally:
        sys.stdout.flush()
        os._exit(status)


def in_float64():
    """Make this process compute in float64."""
    feed = MMRBGANModel.feed_data

    def feed_data(self, data):
        pictures = {key: data[key].double() for key in ('lq', 'gt')}
        feed(self, {**data, **pictures})

    MMRBGANModel.feed_data = feed_data
    torch.set_default_dtype(torch.float64)


def wait(child, seconds=120.0):
    """Return the exit status of ``child``, 128 + signal if it was killed; fail if it takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    raise AssertionError(f'the run did not end within {seconds} s')


def kill(child):
    """End a run and its workers without a word."""
    if child in ended:
        return
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)


def alive(child):
    """Whether ``child`` still runs; one that does not is remembered, for its id is free again."""
    if child not in ended and os.waitpid(child, os.WNOHANG)[0]:
        ended.add(child)
    return child not in ended


def names(folder, pattern):
    try:
        return {path.name for path in folder.glob(pattern)}
    except FileNotFoundError:  # a run that found no complete set is moving the folder aside
        return set()


def half_written(folder):
    return names(folder, '*/.*.part-*')


def until_saving(child, folder, count):
    """Wait for the ``count``-th half-written file of a save."""
    before = half_written(folder)
    seen = set()
    while len(seen) < count and alive(child):
        seen |= half_written(folder) - before


def until_later(child, folder, seconds):
    """Wait for a random moment after the run has begun to train."""
    while not names(folder, '*.log') and alive(child):
        time.sleep(0.005)
    time.sleep(seconds)


def kill_often(name, workers, kills):
    """Kill a run at ``kills`` moments, half of them within a save, resume each; compare with the unbroken run."""
    dice = random.Random(workers)
    content = tiny_run.options(name=name, workers=workers, train={'total_iter': ITERATIONS})
    folder = Path('experiments') / name
    in_save = 0
    for i in range(kills):
        child = fork(content, '--auto_resume')
        if i % 2:
            until_saving(child, folder, dice.randint(1, 7))
        else:
            until_later(child, folder, dice.uniform(0.0, 0.6))
        kill(child)
        in_save += bool(half_written(folder))
        for log in folder.glob('*.log'):
            log.rename(log.with_suffix('.old'))
    assert in_save >= 1, 'no kill fell into a save'
    assert wait(fork(content, '--auto_resume')) == 0
    return in_save


def two_ranks(content, *flags, **changes):
    """Start the two processes of a job as torchrun does; return their ids."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = str(server.getsockname()[1])
    common = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port, 'WORLD_SIZE': '2'}
    ranks = [{**common, 'RANK': str(i), 'LOCAL_RANK': str(i)} for i in range(2)]
    # Written once: a second writing would empty the file while the first rank reads it.
    path = tiny_run.write_yml(content, f'{content["name"]}.yml')
    return [fork_file(path, '--launcher', 'pytorch', *flags, environment=rank, **changes) for rank in ranks]


def main_kills(kills=10):
    assert wait(fork(tiny_run.options(name='unbroken', train={'total_iter': ITERATIONS}))) == 0
    expected = tiny_run.final_state('experiments/unbroken', ITERATIONS)
    for workers in (0, 2):
        in_save = kill_often(f'broken{workers}', workers, kills)
        different = tiny_run.differences(expected, tiny_run.final_state(f'experiments/broken{workers}', ITERATIONS))
        assert not different, f'{len(different)} of {len(expected)} tensors differ: {different[:3]}'
        print(f'{workers} workers, {kills} kills, {in_save} within a save: {len(expected)} tensors equal')


def main_ranks():
    # In float64: Adam makes a step of every gradient, also of one that is nothing but float32's rounding, so that how
    # far two orders of summing drift apart in float32 depends on the CPU.
    def precise(**changes):
        content = tiny_run.options(**changes)
        del content['val'], content['datasets']['val']
        return content

    content = precise(name='precise', train={'check_ranks_every': 1})
    assert [wait(child) for child in two_ranks(content, precise=True)] == [0, 0]
    assert wait(fork(precise(name='one', batch=4), precise=True)) == 0
    one, two = (tiny_run.final_state(f'experiments/{name}') for name in ('one', 'precise'))
    weights = [name for name in one if '.pth' in name]
    assert all(one[name].dtype is torch.float64 for name in weights if one[name].is_floating_point())
    largest = max(float((one[name] - two[name]).abs().max()) for name in weights)
    print(f'largest difference from one process: {largest:.2e}')

    content = tiny_run.options(name='two', train={'check_ranks_every': 1})
    assert [wait(child) for child in two_ranks(content)] == [0, 0]
    two = tiny_run.final_state('experiments/two')
    broken = tiny_run.options(name='broken', train={'check_ranks_every': 1, 'total_iter': 8})
    first, second = two_ranks(broken)
    while not Path('experiments/broken/training_states/2.json').exists():
        assert alive(first) and alive(second)
        time.sleep(0.01)
    kill(second)
    began = time.monotonic()
    status = wait(first, 60)
    assert status not in (0, 130), status
    print(f'the other rank ended with status {status} after {time.monotonic() - began:.1f} s')
    assert [wait(child) for child in two_ranks(broken, '--auto_resume')] == [0, 0]
    different = tiny_run.differences(two, tiny_run.final_state('experiments/broken'))
    assert not different, different[:3]
    print('the killed job resumed to the same bits')


def main_quick(iterations=3):
    """Train the quick options' networks with their losses and rates: two processes, then one with their batch."""
    content = yaml.safe_load(QUICK_OPTIONS.read_text(encoding='utf-8'))
    del content['val'], content['datasets']['val']
    content['train'].update(total_iter=iterations, check_ranks_every=1)
    content['datasets']['train']['dataroot_gt'] = 'faces'
    batch = content['datasets']['train']['batch_size_per_gpu']
    assert wait(fork({**content, 'name': 'one'})) == 0
    content['datasets']['train']['batch_size_per_gpu'] = batch // 2
    assert [wait(child) for child in two_ranks({**content, 'name': 'two'})] == [0, 0]
    one, two = (tiny_run.final_state(f'experiments/{name}', iterations) for name in ('one', 'two'))
    weights = [name for name in one if '.pth' in name]
    # Both bounds: float32's step is 3e-5 at the mapping layers' largest values.
    distant = [name for name in weights if not torch.allclose(one[name], two[name], rtol=1e-5, atol=1e-5)]
    print(f'{len(weights)} tensors compared, differing by more than 1e-5: {distant}')


if __name__ == '__main__':
    torch.set_num_threads(1)
    runner.load_plugins()
    import mmrbgan.running.runs  # noqa: F401

    {'kills': main_kills, 'ranks': main_ranks, 'quick': main_quick}[sys.argv[1]]()
