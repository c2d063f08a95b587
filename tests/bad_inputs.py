"""Thousands of bad inputs through the commands that read them: no traceback, no hang, one clear line, no file lost.

``python tests/bad_inputs.py [--count N] [--kind NAME] [--seed S] [--minutes M]`` prints counts and faults.
A process that has imported everything forks a child for each input, which stands in a folder between guard files.
"""

import argparse
import collections
import contextlib
import dataclasses
import functools
import gc
import hashlib
import io
import json
import math
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import bad_files
import cv2
import numpy as np
import tiny_restoring
import tiny_run
import torch

from mmrbgan import cli
from mmrbgan.running import runner
from mmrbgan_arch.weights_io import read_state
from mmrbgan_data.drawn.drawing import draw_face
from mmrbgan_data.images import write_image

PATIENCE = 120  # seconds, for what takes one at most on a machine that does nothing else
MEMORY = 6 << 30  # bytes a child may map beyond what it begins with
LONGEST_LINE = 500
TRACES = re.compile(
    rb'Traceback \(most|terminate called|^  File "|Segmentation|Assertion .*failed|core dumped|OpenCV|libpng'
    rb'|TIFF[A-Z]\w*:|WARN:|Warning:|Exception ignored',
    re.MULTILINE,
)
STEPS = 2  # of a training whose options turn out to be sound


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        make: (generator, folder) -> what is called and the words of which an error line must have one; ``folder`` holds
            the sound files and gets the bad one.
        share: of all inputs.
        may_change: files that the command may change or remove, as patterns below the folder.
    """

    make: Callable[[np.random.Generator, Path], tuple[list[str], tuple[str, ...]]]
    share: int
    may_change: tuple[str, ...] = ()


def make_sound_files(folder: Path) -> None:
    """Write one sound file of every kind, which the inputs are made of; it takes seconds, once."""
    tiny_run.make_faces(folder / 'faces', 3)
    tiny_restoring.tiny_weights(folder)
    rows = [draw_face(np.random.default_rng([5, number]), 256) for number in range(2)]
    for number, (picture, _) in enumerate(rows):
        write_image(folder / 'photos' / f'{"ab"[number]}.png', picture)
        write_image(folder / 'result' / f'{"ab"[number]}.png', cv2.blur(picture, (5, 5)))
    from mmrbgan_data.components import write_components, write_landmarks

    write_landmarks(folder / 'landmarks.csv', {f'{"ab"[n]}.png': points for n, (_, points) in enumerate(rows)})
    write_components(folder / 'components.json', {f'{n}.png': np.full((3, 3), 20.0) for n in range(3)}, 64)
    (folder / 'groups.csv').write_text('file,group,sex\na.png,asian,f\nb.png,black,m\n')
    calls = [
        ['prepare', 'photos', '-o', 'dataset', '--landmarks', 'landmarks.csv', '--size', '256', '--workers', '1'],
        ['evaluate', 'result', '--gt', 'photos', '--metrics', 'psnr', '--by-pose', '--landmarks', 'landmarks.csv'],
        ['restore', 'photos', '-o', 'restored', '--weights', 'tiny.safetensors', '--json', '--engine', 'torch'],
        ['train', '-opt', tiny_run.write_yml(train_options(), str(folder / 'run.yml'))],
        ['test', '-opt', tiny_run.write_yml(test_options(), str(folder / 'test.yml'))],
        ['report', 'evaluations'],
        ['export', '--weights', 'tiny.safetensors', '--format', 'safetensors'],
    ]
    words = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
        for call in calls:  # in this process, so that children need not import what a command imports late
            assert cli.main(call) == 0, call
    gc.collect()
    gc.freeze()
    assert json.loads((folder / 'restored/faces.json').read_bytes())['photos'][0]['faces'], 'no face was found'


def train_options():
    content = tiny_run.options(train={'total_iter': STEPS}, name='run')
    content['logger']['save_checkpoint_freq'] = 1
    return content


def test_options():
    return {
        'name': 'scored',
        'model_type': 'MMRBGANModel',
        'num_gpu': 0,
        'datasets': {
            'test_1': {'name': 'faces', 'type': 'MMRBGANTestDataset', 'dataroot_gt': 'faces', 'image_size': 64}
        },
        'network_g': tiny_run.options()['network_g'],
        'path': {'pretrain_network_g': 'experiments/run/models/net_g_2.pth'},
        'val': {'save_img': True, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
    }


# -- the kinds: each lays its bad file into the folder and returns the call ------------------------------------------


def images(rng, folder):
    ending, content = bad_files.bad_image(rng)
    return _image_call(rng, folder, f'bad.{ending}', content)


def _image_call(rng, folder, name, content):
    way = rng.choice(['restore', 'detect', 'prepare', 'evaluate', 'test', 'train'], p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05])
    place = {'prepare': 'photos', 'evaluate': 'result', 'test': 'faces', 'train': 'faces'}.get(way, 'photos')
    (folder / place / name).write_bytes(content)
    photos = 'photos' if rng.random() < 0.2 else f'photos/{name}'
    restore = ['restore', photos, '-o', 'out', '--weights', 'tiny.safetensors', '--engine', 'torch']
    scale = [['--scale', '2'], ['--format', str(rng.choice(['same', 'png', 'jpg', 'tif', 'webp']))], []][
        rng.integers(3)
    ]
    if way == 'evaluate' and rng.random() < 0.5:
        shutil.copy(folder / 'photos' / 'a.png', folder / 'photos' / 'bad.png')
    calls = {
        'restore': [*restore, '--aligned', '--sheet', '--json', *scale],
        'detect': [*restore, *scale],
        'prepare': ['prepare', 'photos', '-o', 'out', '--size', '256', '--workers', '1', '--min-face', '20'],
        'evaluate': ['evaluate', 'result', '--gt', 'photos', '--metrics', 'psnr', 'ssim', '--out', 'scored.json'],
        'test': ['test', '-opt', 'test.yml', '--force_yml', 'name=other'],
        'train': ['train', '-opt', 'run.yml', '--force_yml', 'name=other'],
    }
    return calls[way], ('bad', name)


def landmarks(rng, folder):
    name = 'landmarks.csv' if rng.random() < 0.8 else 'groups.csv'
    (folder / 'bad.csv').write_bytes(bad_files.bad_table(rng, (folder / name).read_text()))
    evaluate = ['evaluate', 'result', '--gt', 'photos', '--metrics', 'psnr', '--out', 'scored.json']
    if name == 'groups.csv':
        return [*evaluate, '--by', 'bad.csv'], ('bad.csv',)
    calls = [
        ['prepare', 'photos', '-o', 'out', '--landmarks', 'bad.csv', '--size', '256', '--workers', '1'],
        [*evaluate, '--by-pose', '--landmarks', 'bad.csv'],
        _train_with(folder, 'bad.csv'),
    ]
    return calls[rng.integers(3)], ('bad.csv', 'photos: no face could be used')


def _train_with(folder, component_path):
    content = train_options()
    content['name'] = 'other'
    content['datasets']['train']['component_path'] = component_path
    content['datasets']['train']['dataroot_gt'] = 'photos' if component_path.endswith('csv') else 'faces'
    return ['train', '-opt', tiny_run.write_yml(content, str(folder / 'bad.yml'))]


def components(rng, folder):
    sound = json.loads((folder / 'components.json').read_bytes())
    (folder / 'bad.json').write_bytes(bad_files.bad_json(rng, sound))
    return _train_with(folder, 'bad.json'), ('bad.json',)


def faces(rng, folder):
    sound = json.loads((folder / 'restored/faces.json').read_bytes())
    bad = bad_files.bad_json(rng, sound)
    if rng.random() < 0.7:  # deep in the first face, where most keys are
        bad = bad_files.as_json(
            {
                'photos': [
                    {**sound['photos'][0], 'faces': [bad_files.changed(rng, sound['photos'][0]['faces'][0])]},
                    sound['photos'][1],
                ]
            }
        )
    (folder / 'bad.json').write_bytes(bad)
    call = ['restore', 'photos/a.png', '-o', 'out', '--weights', 'tiny.safetensors', '--faces', 'bad.json']
    return [*call, '--engine', 'torch', '--json', *[['--sheet'], ['--color', 'free'], []][rng.integers(3)]], (
        'bad.json',
    )


def progress(rng, folder):
    if rng.random() < 0.3:
        return _own_lists(rng, folder)
    path = folder / 'dataset/progress.jsonl'
    path.write_bytes(bad_files.bad_lines(rng, path.read_bytes().splitlines()))
    if rng.random() < 0.5:  # so that its crops are to go
        (folder / 'photos/a.png').unlink()
    call = ['prepare', 'photos', '-o', 'dataset', '--landmarks', 'landmarks.csv', '--size', '256', '--workers', '1']
    return call, ('progress.jsonl', 'dataset: was made with', 'photos: no face could be used')


def _own_lists(rng, folder):
    """The hidden list of results, by which `restore` knows what it may write over."""
    path = folder / 'restored/.mmrbgan_results'
    path.write_bytes(bad_files.bad_lines(rng, path.read_bytes().splitlines()))
    call = ['restore', 'photos', '-o', 'restored', '--weights', 'tiny.safetensors', '--engine', 'torch', '--aligned']
    return call, ('restored',)


def records(rng, folder):
    sound = json.loads((folder / 'evaluations/result.json').read_bytes())
    if rng.random() < 0.15:
        timing = {'method': 'x', 'median': 1.0, 'low': 1.0, 'high': 1.0, 'repeats': 5, 'warm_up': 2, 'size': 512}
        timing |= {'device': 'cpu', 'precision': 'float32', 'threads': 2}
        sound = {'format': 'mmrbgan-timing-1', 'timings': [timing, timing]}
    (folder / 'bad.json').write_bytes(bad_files.bad_json(rng, sound))
    return ['report', 'bad.json', *(['evaluations'] if rng.random() < 0.2 else []), '-o', 'out'], ('bad.json', 'result')


def checkpoints(rng, folder):
    way = rng.choice(['restore', 'export', 'train', 'resume', 'convert', 'test'], p=[0.35, 0.15, 0.15, 0.2, 0.1, 0.05])
    if way == 'resume':
        return _resume(rng, folder)
    ending = 'pth' if way == 'convert' or rng.random() < 0.5 else 'safetensors'
    state = read_state(folder / 'tiny.safetensors')
    if way in ('train', 'test'):
        state = read_state(folder / 'experiments/run/models/net_g_2.pth')
    (folder / f'bad.{ending}').write_bytes(bad_files.bad_checkpoint(rng, state, ending))
    calls = {
        'restore': [
            'restore',
            'photos/a.png',
            '-o',
            'out',
            '--aligned',
            '--engine',
            'torch',
            '--weights',
            f'bad.{ending}',
        ],
        'export': ['export', '--weights', f'bad.{ending}', '--format', 'safetensors', '-o', 'out.safetensors'],
        'convert': [
            *['convert', *(['gpen', '--generator'] if rng.random() < 0.5 else ['arcface', '--weights'])],
            *[f'bad.{ending}', '--output', 'out'],
        ],
        'train': ['train', '-opt', 'run.yml', '--force_yml', 'name=other', f'path:pretrain_network_g=bad.{ending}'],
        'test': [
            *['test', '-opt', 'test.yml', '--force_yml', 'name=other', f'path:pretrain_network_g=bad.{ending}'],
        ],
    }
    return calls[way], (f'bad.{ending}',)


def _resume(rng, folder):
    root = folder / 'experiments/run'
    path = sorted([*root.glob('models/*_2.pth'), *root.glob('training_states/2.*'), *root.glob('*.json')])
    path = path[rng.integers(len(path))]
    content = path.read_bytes()
    if path.suffix == '.json':
        content = bad_files.bad_json(rng, json.loads(content))
    elif path.suffix == '.state' and rng.random() < 0.7:
        content = bad_files.as_pth(_bad_training_state(rng, torch.load(path, weights_only=True)))
    else:
        content = bad_files.damaged(rng, content)
    path.write_bytes(content)
    return ['train', '-opt', 'run.yml', '--auto_resume', '--force_yml', 'train:total_iter=3'], ('run', path.name)


def _bad_training_state(rng, state):
    changed = dict(state)
    key = list(changed)[rng.integers(len(changed))]
    changed[key] = bad_files.HOSTILE[rng.integers(len(bad_files.HOSTILE))]
    return changed if rng.random() < 0.7 else {name: value for name, value in state.items() if name != key}


def options(rng, folder):
    way = rng.choice(['train', 'test', 'preview', 'time'], p=[0.6, 0.25, 0.1, 0.05])
    sound = test_options() if way == 'test' else train_options()
    (folder / 'bad.yml').write_bytes(bad_files.bad_options(rng, sound | {'name': 'other'}))
    calls = {
        'train': ['train', '-opt', 'bad.yml'],
        'test': ['test', '-opt', 'bad.yml'],
        'preview': ['prepare', 'photos', '--preview', '-o', 'out.jpg', '--opt', 'bad.yml'],
        'time': ['evaluate', '--time', 'bad.yml', '--repeats', '1'],
    }
    return calls[way], ()  # a key is named, or the file


RUN_FOLDERS = ('experiments/*', 'tb_logger/*', 'results/*')
KINDS = {
    'images': Kind(images, 6),
    'landmarks and groups': Kind(landmarks, 2),
    'components': Kind(components, 2),
    'faces.json': Kind(faces, 2),
    'progress and lists': Kind(
        progress, 2, ('dataset/*', 'restored/a.png', 'restored/b.png', 'restored/.mmrbgan_results')
    ),
    'records': Kind(records, 2),
    'checkpoints': Kind(checkpoints, 3, ('experiments/run/*', 'experiments/run_archived*')),
    'options': Kind(options, 3),
}

# -- one input -------------------------------------------------------------------------------------------------------


def in_child(call, folder):
    """Run ``mmrbgan CALL`` in ``folder`` in a forked process; return (status, output); -1 is a hang."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            _run(call, folder, output.fileno())
        end = time.monotonic() + PATIENCE
        while not (found := os.wait4(child, os.WNOHANG))[0] and time.monotonic() < end:
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not found[0]:
            os.waitpid(child, 0)
        output.seek(0)
        status = os.waitstatus_to_exitcode(found[1]) if found[0] else -1
        return status, output.read()


def _run(call, folder, output):
    status = 99
    try:
        os.setpgid(0, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
        _end_soon()
        status = cli.main(call)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 98
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _end_soon():
    """End a training after a few steps: sound options with a large number of iterations are no fault."""
    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    step = MMRBGANModel.optimize_parameters

    def optimize_parameters(self, current_iter):
        if current_iter > STEPS + 1:
            os._exit(0)
        step(self, current_iter)

    MMRBGANModel.optimize_parameters = optimize_parameters


def snapshot(root):
    """Return path -> content's hash of everything below ``root``."""
    found = {}
    for path in sorted(root.rglob('*')):
        name = path.relative_to(root).as_posix()
        found[name] = os.readlink(path) if path.is_symlink() else ''
        if path.is_file() and not path.is_symlink():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def try_input(kind, number, seed, sound, root):
    """Make one input, run its command; return (status, faults)."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
    shutil.copytree(sound, root / 'here')
    for guard in ('outside/keep.txt', 'keep.txt', 'here/keep.txt', 'here/dataset/keep.txt', 'here/restored/keep.txt'):
        (root / guard).parent.mkdir(exist_ok=True)
        (root / guard).write_text(guard)
    call, words = KINDS[kind].make(rng, root / 'here')
    before = snapshot(root)
    status, output = in_child(call, root / 'here')
    after = snapshot(root)
    faults = [*_faults_of_output(status, output, words), *_lost(before, after, KINDS[kind].may_change)]
    return status, [f'mmrbgan {" ".join(call)}: {fault}' for fault in faults]


def _faults_of_output(status, output, words):
    if status == -1:
        return [f'no end within {PATIENCE} s']
    lines = output.decode('utf-8', 'replace').strip().splitlines()
    if status not in (0, 1, 2):
        return [f'status {status}: {" / ".join(lines[-3:])}']
    found = TRACES.search(output)
    faults = [f'prints {found[0]!r}: {" / ".join(lines[-3:])}'] if found else []
    errors = [line for line in lines if line.startswith('error: ')]
    if (status == 2) != (len(errors) == 1) or (errors and lines[-1] != errors[0]):
        faults.append(f'status {status} and the lines {errors or lines[-3:]}')
    if status == 1 and not any(line.startswith('failed: ') for line in lines):
        faults.append(f'status 1 and no line that says what failed: {lines[-3:]}')
    vague = [line for line in errors if len(line) > LONGEST_LINE or (words and not any(word in line for word in words))]
    return [*faults, *(f'an error that does not name {words}, or is too long: {line[:300]}' for line in vague)]


def _lost(before, after, may_change):
    faults = []
    for name, content in before.items():
        mine = any(
            Path(name).match(f'here/{pattern}') or name.startswith(f'here/{pattern.rstrip("*")}')
            for pattern in may_change
        )
        if after.get(name) != content and (not mine or name.endswith('keep.txt')):
            faults.append(f'{name} is {"changed" if name in after else "gone"}')
    faults += [f'{name} is new' for name in after if name not in before and not name.startswith('here/')]
    return faults


def try_number(number, kinds, seed, work, keep):
    """Try input ``number``; return (kind, status, faults)."""
    shares = np.cumsum([KINDS[kind].share for kind in kinds])
    kind = kinds[int(np.searchsorted(shares, number % shares[-1], 'right'))]
    root = work / str(number)
    root.mkdir()
    status, found = try_input(kind, number, seed, work / 'sound', root)
    if found and keep:
        shutil.copytree(root, keep / root.name, symlinks=True)
    shutil.rmtree(root)
    return kind, status, [f'{kind} {number}: {fault.replace(str(work), "")}' for fault in found]


def run_all(count, kinds, seed, jobs, minutes, keep=None):
    """Try ``count`` inputs, ``jobs`` at a time; return kind -> counts, and the number of faults, which are printed."""
    counts = {kind: collections.Counter() for kind in kinds}
    faults, end = 0, time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(jobs, get_context('fork')) as pool:
        work = Path(folder)
        (work / 'sound').mkdir()
        make_sound_files(work / 'sound')
        one = functools.partial(try_number, kinds=kinds, seed=seed, work=work, keep=keep)
        for kind, status, found in pool.map(one, range(count)):
            counts[kind][status] += 1
            faults += len(found)
            print(*found, sep='\n', end='\n' * bool(found), flush=True)
            if time.monotonic() > end:
                pool.shutdown(cancel_futures=True)
                break
    return counts, faults


def main(argv=None):
    """Return 0 if no input did harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=2000)
    parser.add_argument('--kind', choices=KINDS)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=2, help='inputs at a time')
    parser.add_argument('--minutes', type=float, default=math.inf, help='after which no more are begun')
    parser.add_argument('--keep', type=Path, help='folder for the inputs that did harm')
    args = parser.parse_args(argv)
    began = time.monotonic()
    counts, faults = run_all(
        args.count, [args.kind] if args.kind else list(KINDS), args.seed, args.jobs, args.minutes, args.keep
    )
    print(f'{"kind":22}{"inputs":>8}{"taken":>8}{"in part":>8}{"refused":>8}')
    for kind, found in counts.items():
        print(f'{kind:22}{found.total():8}{found[0]:8}{found[1]:8}{found[2]:8}')
    total = sum(found.total() for found in counts.values())
    print(f'{total} inputs, {faults} faults, {time.monotonic() - began:.0f} s')
    return int(bool(faults))


if __name__ == '__main__':
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    runner.load_plugins()
    import mmrbgan.evaluation.scoring
    import mmrbgan.report.writer
    import mmrbgan.restoring.restorer
    import mmrbgan.running.runs  # noqa: F401

    sys.exit(main())
