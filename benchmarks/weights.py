"""What weights do for real faces: gains over the degraded input in every metric, by pose, with 95 % intervals.

The faces are degraded as an option file's validation set says (Eq. 17, one seed per file). Input and result are scored
by `mmrbgan evaluate`; the gain is the mean of the differences face by face (bootstrap over the faces). Several files,
for instance of several seeds, are scored on the same inputs.

    python benchmarks/weights.py WEIGHTS... --options options/train_mmrbgan_128_mini.yml --faces DIR
        [--identity FILE] [--sheet SHEET.png]
    python benchmarks/weights.py WEIGHTS... --demo 30       # the demo's photograph, degraded with so many seeds
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from mmrbgan import Restorer, cli
from mmrbgan.evaluation.poses import pose_masks
from mmrbgan.evaluation.record import Record, read_record, summarise
from mmrbgan.restoring import demo
from mmrbgan.restoring.settings import Settings
from mmrbgan.running.run_yml import load_yml
from mmrbgan_arch import load_network
from mmrbgan_data.contact_sheet import contact_sheet
from mmrbgan_data.datasets.validation_dataset import MMRBGANTestDataset
from mmrbgan_data.detection import DlibDetector

METRICS = ['psnr', 'ssim', 'identity_dlib', 'lmd']
LOWER_IS_BETTER = ('angle', 'lmd')
BATCH = 16


def main() -> None:
    """Print one table per weights file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights', nargs='+')
    parser.add_argument('--options', default='options/train_mmrbgan_128_mini.yml')
    parser.add_argument('--faces', help='a folder of aligned faces with landmarks.csv')
    parser.add_argument('--demo', type=int, default=0, metavar='SEEDS', help="the demo's photograph instead")
    parser.add_argument('--identity', help='weights of the recogniser MMRBGANMobileFaceNet, a second opinion to dlib')
    parser.add_argument('--sheet', help='write the best, median and worst faces of the last weights here')
    args = parser.parse_args()
    if args.demo:
        for weights in args.weights:
            show_demo(weights, args.demo)
        return
    if not args.faces:
        parser.error('name the faces with --faces, or take --demo')
    validation = load_yml(Path(args.options))['datasets']['val'] | {'dataroot_gt': args.faces, 'phase': 'val'}
    dataset = MMRBGANTestDataset(validation)
    samples = [dataset[i] for i in range(len(dataset))]
    names = [Path(sample['gt_path']).stem for sample in samples]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pictures = {kind: [to_picture(sample[kind]) for sample in samples] for kind in ('lq', 'gt')}
        for kind, images in pictures.items():
            write(root / kind, names, images)
        before = score(root, 'lq', args)
        size, seed = validation['image_size'], validation['seed']
        print(f'{len(names)} faces of {size} px, set {before.set_hash[:12]}, seed {seed}')
        for weights in args.weights:
            images = restore(weights, [sample['lq'] for sample in samples])
            write(root / 'restored', names, images)
            print(f'\n{Path(weights).name}')
            after = score(root, 'restored', args)
            compare(before, after)
        if args.sheet:
            rows = dict(zip(names, zip(pictures['lq'], images, pictures['gt'], strict=True), strict=True))
            chosen = [rows[Path(name).stem] for name in best_median_worst(before, after)]
            save(Path(args.sheet), contact_sheet(chosen, ('degraded', 'restored', 'original')))


def show_demo(weights: str, seeds: int) -> None:
    """Print the gain of the demo's face, seed by seed of its degradation, and the median."""
    restorer = Restorer(weights, settings=Settings(faces='largest'))
    gains = {}
    for seed in range(seeds):
        original, degraded = demo.photographs(seed)
        result = restorer.restore(degraded)
        if result.restored_faces:
            landmarks = DlibDetector()(original)[0].landmarks
            before, after = (demo.face_psnr(original, x, landmarks) for x in (degraded, result.picture.pixels))
            gains[seed] = after - before
            print(f'seed {seed:2}: {before:.2f} -> {after:.2f} dB ({after - before:+.2f})')
    median = np.median([*gains.values()])
    print(f'{Path(weights).name}: face found with {len(gains)} of {seeds} seeds, median {median:+.2f} dB')


def restore(weights: str, inputs: list[torch.Tensor]) -> list[np.ndarray]:
    """Run the network of a file over (3, s, s) tensors in [-1, 1]."""
    network = load_network(weights)
    with torch.inference_mode():
        batches = [network(torch.stack(inputs[i : i + BATCH])) for i in range(0, len(inputs), BATCH)]
    return [to_picture(image) for image in torch.cat(batches)]


def best_median_worst(before: Record, after: Record) -> list[str]:
    """Names of two faces each whose PSNR gained most, as much as the median and least, in this order."""
    gains = {face['name']: face['psnr'] for face in after.faces}
    ordered = sorted(before.faces, key=lambda face: face['psnr'] - gains[face['name']])
    middle = len(ordered) // 2
    return [face['name'] for face in (*ordered[:2], *ordered[middle - 1 : middle + 1], *ordered[-2:])]


def to_picture(tensor: torch.Tensor) -> np.ndarray:
    """(3, s, s) in [-1, 1] -> RGB uint8 (s, s, 3)."""
    return ((tensor.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def write(folder: Path, names: list[str], pictures: list[np.ndarray]) -> None:
    """Write one PNG per face."""
    folder.mkdir(exist_ok=True)
    for name, picture in zip(names, pictures, strict=True):
        save(folder / f'{name}.png', picture)


def save(path: Path, picture: np.ndarray) -> None:
    """Write RGB uint8."""
    cv2.imwrite(str(path), picture[..., ::-1])


def score(root: Path, kind: str, args: argparse.Namespace) -> Record:
    """Let `mmrbgan evaluate` score a folder against the ground truth."""
    record = root / f'{kind}.json'
    command = ['evaluate', str(root / kind), '--gt', str(root / 'gt'), '--out', str(record), '--by-pose']
    command += ['--landmarks', str(Path(args.faces) / 'landmarks.csv'), '--metrics', *METRICS]
    if args.identity:
        command += ['identity_mobilefacenet', '--weights', f'identity_mobilefacenet={args.identity}']
    if cli.main(command):
        raise SystemExit(1)
    return read_record(record)


def compare(before: Record, after: Record) -> None:
    """Print every metric before and after, and the gain, over all faces and by pose."""
    columns = [name for name in before.summaries if name in after.summaries]
    pairs = {face['name']: face for face in after.faces}
    everyone = [('all', np.ones(len(before.faces), bool))]
    for label, mask in everyone + pose_masks([face['yaw'] for face in before.faces]):
        faces = [face for face, chosen in zip(before.faces, mask, strict=True) if chosen]
        print(f'  {label}: {len(faces)} faces')
        for column in columns:
            print(f'    {column:32} {line(faces, pairs, column)}')


def line(faces: list[Mapping[str, Any]], pairs: Mapping[str, Mapping[str, Any]], column: str) -> str:
    """Return before -> after (gain, interval); faces that either side could not score are left out and counted."""
    both = [(face[column], pairs[face['name']][column]) for face in faces]
    scored = np.array([(one, other) for one, other in both if one is not None and other is not None], float)
    if not len(scored):
        return 'no face scored on both sides'
    gain = summarise(scored[:, 1] - scored[:, 0])
    interval = '' if gain.low is None else f', 95 % {gain.low:+.4f} to {gain.high:+.4f}'
    sense = 'lower is better' if any(word in column for word in LOWER_IS_BETTER) else 'higher is better'
    note = '' if len(scored) == len(both) else f', {len(scored)} of {len(both)} scored'
    means = scored.mean(axis=0)
    return f'{means[0]:9.4f} -> {means[1]:9.4f}  ({gain.mean:+.4f}{interval}; {sense}{note})'


if __name__ == '__main__':
    main()
