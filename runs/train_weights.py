"""Trains the weights that ship: short runs that choose the recipe, then the runs themselves, several at once.

    python runs/train_weights.py table --faces FACES --recogniser FILE --out OUT   # short runs of equal length
    python runs/train_weights.py ship --faces FACES --recogniser FILE --out OUT --minutes 8

FACES holds train256, val256 and val_groups256 with their landmarks.csv. Every run is `basicsr train` on one of the
project's option files with the changes below, in a process of its own; they share one GPU. OUT gets the moving
average of each run in float16, its log, and in parts of at most 15 MiB the state from which
`--auto_resume` goes on; `--state DIR` takes such parts up again, here or on another machine.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import yaml

GROUPS = '^me_([a-z]+)_'
ROOT = Path(__file__).resolve().parents[1]
PART = 15 * 2**20
SMALL = 'options/train_mmrbgan_128_mini.yml'
LARGE = 'options/train_mmrbgan_256_lite.yml'
NO_CRITICS = ['train:gan_opt=none', 'train:r1_opt=none', 'train:component_opt=none']
L1 = [*NO_CRITICS, 'train:identity_opt=none', 'train:perceptual_opt=none']
BF16 = ['train:amp=bf16']
TABLE = {  # name: changes to the 128-px recipe
    'l1_narrow16_fp32': [*L1, 'network_g:narrow=0.0625'],
    'l1_narrow8_fp32': L1,
    'l1_narrow8': [*L1, *BF16],
    'l1_narrow4': [*L1, *BF16, 'network_g:narrow=0.25'],
    'identity_02': [*NO_CRITICS, *BF16, 'train:perceptual_opt=none', 'train:identity_opt:loss_weight=0.2'],
    'identity_05': [*NO_CRITICS, *BF16, 'train:perceptual_opt=none'],
    'identity_20': [*NO_CRITICS, *BF16, 'train:perceptual_opt=none', 'train:identity_opt:loss_weight=2'],
    'perceptual_01': [*NO_CRITICS, *BF16, 'train:identity_opt=none'],
    'perceptual_05': [*NO_CRITICS, *BF16, 'train:identity_opt=none', 'train:perceptual_opt:loss_weight=0.5'],
    'both': [*NO_CRITICS, *BF16],
    'both_gan': [*BF16, 'train:gan_opt:start=TWO_THIRDS', 'train:r1_opt:start=TWO_THIRDS']
    + [
        'train:component_opt:start=TWO_THIRDS',
        'train:gan_opt:loss_weight=0.02',
        'train:component_opt:loss_weight=0.02',
    ],
}
SHIP = {'mmrbgan_128': (SMALL, 64, [*NO_CRITICS, *BF16]), 'mmrbgan_256': (LARGE, 32, [*NO_CRITICS, *BF16])}


def main() -> None:
    """Start what is asked for, wait, gather."""
    args = read_arguments()
    work = Path(args.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    if args.state:
        unpack(Path(args.state), work)
    jobs = table_jobs(args) if args.command == 'table' else ship_jobs(args)
    if args.only:
        jobs = {name: job for name, job in jobs.items() if name in args.only}
    started = time.monotonic()
    running = {name: start(name, job, work, args) for name, job in jobs.items()}
    failed = [name for name, process in running.items() if process.wait()]
    print(f'{len(jobs)} runs in {time.monotonic() - started:.0f} s, failed: {failed or "none"}', flush=True)
    for name in jobs:
        show(name, work)
        keep(name, work, Path(args.out))
    if args.command == 'ship':
        pack(work, [name for name in args.resumable if name in jobs], Path(args.out))


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=['table', 'ship'])
    parser.add_argument('--faces', required=True)
    parser.add_argument('--recogniser', required=True, help='mobilefacenet_arcface.pt')
    parser.add_argument('--features', help="MobileNetV2's weights, if the package that carries them is not installed")
    parser.add_argument('--out', required=True)
    parser.add_argument('--work', default='weights-work', help='where the runs lie')
    parser.add_argument('--state', help='parts of an earlier run, from its OUT')
    parser.add_argument('--iterations', type=int, default=1000, help='of each short run')
    parser.add_argument('--batch', type=int, help='samples of an iteration')
    parser.add_argument('--minutes', type=float, default=8.0, help='time_limit of each run')
    parser.add_argument('--workers', type=int, default=1, help='loader processes of each run')
    parser.add_argument('--only', nargs='+', help='these runs alone')
    parser.add_argument('--resumable', nargs='*', default=['mmrbgan_128'], help='runs whose whole state is kept')
    parser.add_argument('--set', nargs='+', default=[], metavar='A:B=C', help='further changes to every run')
    return parser.parse_args()


def table_jobs(args: argparse.Namespace) -> dict[str, list[str]]:
    """Command lines of the short runs."""
    start = str(2 * args.iterations // 3)
    return {
        name: command(SMALL, name, args, args.batch or 32, args.iterations)
        + [change.replace('TWO_THIRDS', start) for change in changes]
        + ['train:ema_decay=0.99']  # the recipe's 0.998 would still hold much of the random start
        for name, changes in TABLE.items()
    }


def ship_jobs(args: argparse.Namespace) -> dict[str, list[str]]:
    """Command lines of the runs that ship; the clock ends them."""
    return {
        name: command(file, name, args, args.batch or batch, 10**6) + changes
        for name, (file, batch, changes) in SHIP.items()
    }


def command(file: str, name: str, args: argparse.Namespace, batch: int, iterations: int) -> list[str]:
    """`basicsr train` with what all runs have in common."""
    changes = [
        f'name={name}',
        f'datasets:train:dataroot_gt={Path(args.faces).resolve()}/train256',
        f'datasets:val:dataroot_gt={Path(args.faces).resolve()}/val256',
        f'datasets:val_groups={by_group(file, Path(args.faces).resolve())}',
        f'val:group_pattern={GROUPS}',
        f'datasets:train:batch_size_per_gpu={batch}',
        f'datasets:train:num_worker_per_gpu={args.workers}',
        f'datasets:train:persistent_workers={str(args.workers > 0).lower()}',
        f'train:identity_opt:weights={Path(args.recogniser).resolve()}',
        f'train:total_iter={iterations}',
        f'train:time_limit={args.minutes}',
        'train:cuda_graph=true',
        'datasets:train:dataset_enlarge_ratio=100',  # the loader starts again at the end of an epoch
        'val:val_freq=1000000',
        'logger:save_checkpoint_freq=1000000',
        'logger:print_freq=50',
        'logger:use_tb_logger=false',
    ]
    if args.features:
        changes.append(f'train:perceptual_opt:weights={Path(args.features).resolve()}')
    line = [sys.executable, '-m', 'mmrbgan.running.runner', 'train', '-opt', str(ROOT / file), '--auto_resume']
    return [*line, '--force_yml', *changes, *args.set]


def by_group(file: str, faces: Path) -> str:
    """Return the section of a second validation set, whose log line names the group that gains least, as YAML."""
    section = yaml.safe_load((ROOT / file).read_text(encoding='utf-8'))['datasets']['val']
    section |= {'name': 'groups', 'dataroot_gt': str(faces / 'val_groups256')}
    return yaml.safe_dump(section, default_flow_style=True, width=10**6).strip()


def start(name: str, line: list[str], work: Path, args: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Start one run in ``work``, its output in a file."""
    with (work / f'{name}.txt').open('ab') as output:
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        return subprocess.Popen(line, cwd=work, env=environment, stdout=output, stderr=subprocess.STDOUT)


def show(name: str, work: Path) -> None:
    """Print a run's last lines."""
    text = (work / f'{name}.txt').read_text(encoding='utf-8', errors='replace')
    steps = [line for line in text.splitlines() if 'l_g_' in line][-1:]
    scores = [line for line in text.splitlines() if 'psnr' in line and 'input' in line][-1:]
    print(f'== {name}', *(steps + scores or text.splitlines()[-12:]), sep='\n', flush=True)


def keep(name: str, work: Path, out: Path) -> None:
    """Write a run's moving average in float16, and its log."""
    from mmrbgan_arch.weights_io import read_state, write_weights

    latest = work / f'experiments/{name}/models/net_g_latest.pth'
    if latest.is_file():
        state = {key: value.half() if value.is_floating_point() else value for key, value in read_state(latest).items()}
        write_weights(out / f'{name}.safetensors', state)
    shutil.copy(work / f'{name}.txt', out / f'{name}.txt')


def pack(work: Path, names: list[str], out: Path) -> None:
    """Write the runs' last sets as one archive in parts."""
    if not names:
        return
    archive = work / 'state.tar'
    with tarfile.open(archive, 'w') as file:
        for name in names:
            folder = work / f'experiments/{name}'
            number = max(int(path.stem) for path in (folder / 'training_states').glob('*.state'))
            kept = [path for path in folder.rglob('*') if path.is_file() and _belongs(path, number)]
            for path in kept:
                file.add(path, path.relative_to(work))
    content = archive.read_bytes()
    for i in range(0, len(content), PART):
        (out / f'state.part{i // PART:02}').write_bytes(content[i : i + PART])


def _belongs(path: Path, number: int) -> bool:
    """Say whether a file belongs to the set of an iteration."""
    return bool(re.search(rf'(^|_){number}\.', path.name)) or path.suffix in ('.yml', '.json')


def unpack(parts: Path, work: Path) -> None:
    """Put the parts together again, unless that was done before."""
    if (work / 'experiments').exists():
        return
    archive = work / 'state.tar'
    archive.write_bytes(b''.join(path.read_bytes() for path in sorted(parts.glob('state.part*'))))
    with tarfile.open(archive) as file:
        file.extractall(work, filter='data')


if __name__ == '__main__':
    main()
