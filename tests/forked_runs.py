"""Runs that are killed: a process that has imported everything forks them, so that one costs no start of Python.

Called as ``forked_runs.py kills COUNT SEED``, ``ranks`` or ``quick`` in a folder with faces/; fails loudly.
"""

import os
import random
import select
import signal
import socket
import sys
import time
from collections import Counter
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


def fork_file(path, *flags, environment=(), precise=False, moments=None, clock=0.0):
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
        if moments is not None:
            moments.tell()
        if clock:
            move_clock(clock)
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
            ended.add(child)
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
    ended.add(child)


def alive(child):
    """Whether ``child`` still runs; one that does not is remembered, for its id is free again."""
    if child not in ended and os.waitpid(child, os.WNOHANG)[0]:
        ended.add(child)
    return child not in ended


class Moments:
    """What a run does, told by itself: s for a step, c for a checkpoint, v for a validation, at its beginning."""

    def __init__(self):
        self.reader, self.writer = os.pipe()

    def tell(self):
        """In the child: write a letter before each."""
        from mmrbgan_model.checkpoints.checkpointing import CheckpointFolder

        for letter, owner, name in (
            (b's', MMRBGANModel, 'optimize_parameters'),
            (b'v', MMRBGANModel, 'validation'),
            (b'c', CheckpointFolder, 'save'),
        ):
            setattr(owner, name, self._telling(getattr(owner, name), letter))

    def _telling(self, function, letter):
        def told(*arguments, **keywords):
            os.write(self.writer, letter)
            return function(*arguments, **keywords)

        return told

    def wait_for(self, letter, count, children):
        """Return at the beginning of the ``count``-th of them, or when a process has ended."""
        while count and all(map(alive, children)):
            if select.select([self.reader], [], [], 0.01)[0]:
                count -= os.read(self.reader, 1) == letter

    def close(self):
        os.close(self.reader)
        os.close(self.writer)


def move_clock(offset):
    """In the child: let the clock be ``offset`` seconds off."""
    now, local, text = time.time, time.localtime, time.strftime
    time.time = lambda: now() + offset
    time.localtime = lambda seconds=None: local(time.time() if seconds is None else seconds)
    time.strftime = lambda form, when=None: text(form, time.localtime() if when is None else when)


def move_files(dice, folder):
    """Let every file be as old, or as far in the future, as it happens."""
    for path in folder.rglob('*'):
        moment = time.time() + dice.uniform(-1e8, 1e8)
        os.utime(path, (moment, moment))


def break_one(dice, content, ranks):
    """Start a run, kill it at a random moment; return that moment's kind, None where the run had ended."""
    kind = dice.choice(('start', 'step', 'checkpoint', 'validation'))
    moments, clock = Moments(), dice.uniform(-1e8, 1e8)
    more = {'moments': moments, 'clock': clock}
    children = two_ranks(content, '--auto_resume', **more) if ranks else [fork(content, '--auto_resume', **more)]
    if kind == 'start':
        time.sleep(dice.uniform(0, 1))
    else:
        moments.wait_for(kind[0].encode(), dice.randint(1, 4 if kind == 'step' else 2) * len(children), children)
        time.sleep(dice.uniform(0, {'step': 0.3, 'checkpoint': 0.1, 'validation': 0.2}[kind]))
    killed = [child for child in children if alive(child)]
    if kind != 'start' and len(killed) == 2 and dice.random() < 0.5:  # before they meet, torchrun ends the other
        first, other = dice.sample(killed, 2)
        kill(first)
        wait(other)  # it ends by itself
        kind = f'{kind} of one rank'
    for child in killed:
        kill(child)
    moments.close()
    return kind if len(killed) == len(children) else None


def left_behind(folder, expected):
    """What a finished run holds beside what the unbroken one holds, logs but for."""
    known = {str(path.relative_to(expected)) for path in expected.rglob('*') if path.suffix != '.log'}
    here = {str(path.relative_to(folder)) for path in folder.rglob('*') if path.suffix != '.log'}
    strange = {path for path in here ^ known if not path.endswith(f'{folder.name}.yml')}
    return sorted(strange - {f'{expected.name}.yml'})


def kill_often(kills, seed):
    """Break runs until there were ``kills``, the clock and the files' times moved in between; compare each at its end.

    One process or two, no workers or two, in turn.
    """
    dice, done, runs, tensors = random.Random(seed), Counter(), 0, 0
    unbroken = {}
    for ranks in (False, True):
        content = tiny_run.options(name=f'unbroken{int(ranks)}', train={'total_iter': ITERATIONS})
        assert all(wait(child) == 0 for child in (two_ranks(content) if ranks else [fork(content)]))
        unbroken[ranks] = Path('experiments', content['name'])
    while done.total() < kills:
        workers, ranks = (0, 2)[runs % 2], runs % 3 == 2
        content = tiny_run.options(name=f'broken{runs}', workers=workers, train={'total_iter': ITERATIONS})
        folder = Path('experiments', content['name'])
        for _ in range(min(20, kills - done.total())):
            kind = break_one(dice, content, ranks)
            done.update([kind] * (kind is not None))
            move_files(dice, folder)
        last = two_ranks(content, '--auto_resume') if ranks else [fork(content, '--auto_resume')]
        assert [wait(child) for child in last] == [0] * len(last)
        expected = tiny_run.final_state(unbroken[ranks], ITERATIONS)
        different = tiny_run.differences(expected, tiny_run.final_state(folder, ITERATIONS))
        assert not different, f'{content["name"]}: {len(different)} of {len(expected)} tensors differ: {different[:3]}'
        strange = left_behind(folder, unbroken[ranks])
        assert not strange, f'{content["name"]}: {strange}'
        runs, tensors = runs + 1, tensors + len(expected)
        shown = f'{workers} workers, {1 + ranks} processes: {len(expected)} tensors equal, nothing left behind'
        print(f'{content["name"]}: {shown}; {done.total()} kills so far', flush=True)
    assert {path.name for path in Path('experiments').iterdir()} == {
        *(f'broken{i}' for i in range(runs)),
        *(path.name for path in unbroken.values()),
    }
    counts = ', '.join(f'{count} in {kind}' for kind, count in sorted(done.items()))
    print(f'{done.total()} kills in {runs} runs: {counts}')


def two_ranks(content, *flags, **changes):
    """Start the two processes of a job as torchrun does; return their ids."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = str(server.getsockname()[1])
    common = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port, 'WORLD_SIZE': '2'}
    ranks = [{**common, 'RANK': str(i), 'LOCAL_RANK': str(i)} for i in range(2)]
    # Written once: a second writing would empty the file while the first rank reads it.
    path = tiny_run.write_yml(content, f'{content["name"]}.yml')
    return [fork_file(path, '--launcher', 'pytorch', *flags, environment=rank, **changes) for rank in ranks]


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

    if sys.argv[1] == 'kills':
        kill_often(int(sys.argv[2]), int(sys.argv[3]))
    else:
        {'ranks': main_ranks, 'quick': main_quick}[sys.argv[1]]()
