"""The paper's Table 5 at a scale of your choice: trains the full model and its five variants, and fills the table.

    python benchmarks/ablation.py --train FACES --val FACES [--iterations 400] [--seeds 3] [--output ablation]

What each variant changes is read from options/ablation/*.yml (their difference from options/train_mmrbgan.yml) and laid
over a small base file. Every run goes through `mmrbgan train`, `test` and `evaluate`, and the table through `mmrbgan
report`; finished runs are skipped, so a broken-off series goes on. From scratch and this small, the differences say
what the parts do to short training, not what the paper measured after 700,000 iterations.
"""

import argparse
import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from mmrbgan.running.options.run_yml import load_yml
from mmrbgan_data.images import list_images, read_image, resize_square, write_image

OPTIONS = Path(__file__).parents[1] / 'options'
VARIANTS = {
    'full model': None,
    'w/o MMRB': 'no_mmrb',
    'w/o FreezeD': 'no_freezed',
    'w/o local D': 'no_local_d',
    'w/o fine-tuning + FreezeD': 'no_finetune_freezed',
    'w/o face-preserving loss': 'no_face_preserving',
}
ELSEWHERE = {('path',), ('name',)}  # differences that do not belong to a variant


def main() -> int:
    """Train, test, score and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--base', default=str(OPTIONS / 'train_mmrbgan_quick.yml'), help='the small option file')
    parser.add_argument('--train', required=True, metavar='FOLDER', help='aligned faces with landmarks.csv')
    parser.add_argument('--val', required=True, metavar='FOLDER', help='aligned faces')
    parser.add_argument('--iterations', type=int, default=400)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--freeze', type=int, default=2, help='layers of the discriminator that the full model freezes')
    parser.add_argument('--identity', metavar='FILE', help="MobileFaceNet's weights, for the face-preserving loss")
    parser.add_argument('--variants', nargs='+', choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument('--output', default='ablation')
    args = parser.parse_args()
    folder = Path(args.output).resolve()
    base = full_model(load_yml(args.base), args)
    gt = scaled_faces(Path(args.val), folder / 'gt', base['network_g']['out_size'])
    for variant in args.variants:
        for seed in range(args.seeds):
            run_variant(variant, seed, base, folder, gt)
    return command(folder, 'report', 'records', '-o', 'report', '--title', 'Ablations')


def full_model(base: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """The base file on these faces, with FreezeD and, where its weights are, the face-preserving loss."""
    base['datasets']['train']['dataroot_gt'] = str(Path(args.train).resolve())
    base['datasets'].pop('val', None)
    base.pop('val', None)
    base['network_d']['freeze_layers'] = args.freeze
    train = base['train']
    train['total_iter'] = args.iterations
    train['scheduler'] = {'type': 'MultiStepLR', 'milestones': [args.iterations * 2 // 3], 'gamma': 0.5}
    for name in ('gan_opt', 'component_opt', 'r1_opt'):
        train[name].pop('start', None)  # every part is on from the first iteration
    if args.identity:
        base['network_identity'] = {'type': 'MMRBGANMobileFaceNet'}
        train['identity_opt'] = {'loss_weight': 1, 'weights': str(Path(args.identity).resolve())}
    base['logger'] = {'print_freq': 100, 'save_checkpoint_freq': args.iterations, 'use_tb_logger': False}
    return base


def run_variant(variant: str, seed: int, base: dict[str, Any], folder: Path, gt: Path) -> None:
    """Train, test and score one variant with one seed, unless its record is there."""
    short = VARIANTS[variant] or 'full'
    name = f'{short}_seed{seed}'
    record = folder / 'records' / f'{name}.json'
    if record.is_file():
        return
    options = apply_variant(base, short) | {'name': name, 'manual_seed': seed}
    write_yml(folder / f'{name}.yml', options)
    command(folder, 'train', '-opt', f'{name}.yml', '--auto_resume')
    weights = f'experiments/{name}/models/net_g_latest.pth'
    write_yml(folder / f'test_{name}.yml', test_options(options, gt, weights))
    command(folder, 'test', '-opt', f'test_{name}.yml')
    restored = f'results/test_{name}/visualization/val'
    flags = ['--table', 'ablation', '--name', variant, '--method-weights', weights, '--out', str(record)]
    command(folder, 'evaluate', restored, '--gt', str(gt), *flags)


def apply_variant(base: dict[str, Any], short: str) -> dict[str, Any]:
    """Lay over ``base`` what options/ablation/``short``.yml changes in options/train_mmrbgan.yml."""
    options = copy.deepcopy(base)
    if short == 'full':
        return options
    full, variant = load_yml(OPTIONS / 'train_mmrbgan.yml'), load_yml(OPTIONS / 'ablation' / f'{short}.yml')
    for keys, value in differences(full, variant):
        section = options
        for key in keys[:-1]:
            section = section.setdefault(key, {})
        if value is None:
            section.pop(keys[-1], None)
        else:
            section[keys[-1]] = value
    return options


def differences(full: dict[str, Any], variant: dict[str, Any], place: tuple[str, ...] = ()) -> list[tuple[Any, Any]]:
    """Return (keys, new value) of every difference; None for a key that is gone."""
    found: list[tuple[Any, Any]] = []
    for key in {**full, **variant}:
        keys = (*place, key)
        if keys in ELSEWHERE or full.get(key) == variant.get(key):
            continue
        if isinstance(full.get(key), dict) and isinstance(variant.get(key), dict):
            found += differences(full[key], variant[key], keys)
        else:
            found.append((keys, variant.get(key)))
    return found


def test_options(options: dict[str, Any], gt: Path, weights: str) -> dict[str, Any]:
    """An option file that restores the validation faces, degraded as in training."""
    train = options['datasets']['train']
    data = {'name': 'val', 'type': 'MMRBGANTestDataset', 'dataroot_gt': str(gt), 'seed': 0}
    data |= {'image_size': train['image_size'], 'degradation': train['degradation']}
    return {
        'name': f'test_{options["name"]}',
        'model_type': options['model_type'],
        'num_gpu': 'auto',
        'manual_seed': 0,
        'datasets': {'test': data},
        'network_g': options['network_g'],
        'path': {'pretrain_network_g': weights},
        'val': {'save_img': True},
    }


def scaled_faces(source: Path, target: Path, size: int) -> Path:
    """Write the validation faces at the network's size, as `mmrbgan evaluate` compares equal sizes only."""
    target.mkdir(parents=True, exist_ok=True)
    for name in list_images(source):
        path = target / Path(name).with_suffix('.png').name
        if not path.is_file():
            write_image(path, resize_square(read_image(source / name), size))
    return target


def write_yml(path: Path, options: dict[str, Any]) -> None:
    """Write an option file."""
    path.write_text(yaml.safe_dump(options, sort_keys=False), encoding='utf-8')


def command(folder: Path, *arguments: str) -> int:
    """Run one of our commands in ``folder``; a failure ends the series."""
    print('mmrbgan', *arguments, flush=True)
    return subprocess.run([sys.executable, '-m', 'mmrbgan.cli', *arguments], cwd=folder, check=True).returncode


if __name__ == '__main__':
    sys.exit(main())
