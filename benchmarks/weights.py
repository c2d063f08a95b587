"""What weights do for real faces: gains over the degraded input in every metric, by pose and group, with intervals.

The faces are degraded as an option file's validation set says (Eq. 17, one seed per file). Input and result are scored
by `mmrbgan evaluate`; the gain is the mean of the differences face by face (bootstrap over the faces), and of every
metric the part that gained least is named. Several files, for instance of several seeds, are scored on the same inputs.

    python benchmarks/weights.py WEIGHTS... --options options/train_mmrbgan_128_mini.yml --faces DIR
        [--by PATTERN] [--identity FILE] [--markdown TABLE.md] [--sheet SHEET.png]
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
from mmrbgan.evaluation.groups import find_groups
from mmrbgan.evaluation.metric_table import column
from mmrbgan.evaluation.poses import pose_masks
from mmrbgan.evaluation.record import Record, Summary, read_record, summarise
from mmrbgan.restoring import demo
from mmrbgan.restoring.settings import Settings
from mmrbgan.running.options.run_yml import load_yml
from mmrbgan_arch import load_network
from mmrbgan_data.contact_sheet import contact_sheet
from mmrbgan_data.datasets.dataset_options import resolve_root
from mmrbgan_data.datasets.validation_dataset import MMRBGANTestDataset
from mmrbgan_data.detection import DlibDetector

METRICS = ['psnr', 'ssim', 'identity_dlib', 'lmd', 'lite0', 'skin']
LEAST = 10  # faces of a part that can be the worst
IN_CARD = ('psnr', 'ssim', 'identity_dlib_distance', 'lmd', 'lite0', 'skin')
BATCH = 16


def main() -> None:
    """Print one table per weights file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights', nargs='+')
    parser.add_argument('--options', default='options/train_mmrbgan_128_mini.yml')
    parser.add_argument('--faces', help='a folder of aligned faces with landmarks.csv')
    parser.add_argument('--demo', type=int, default=0, metavar='SEEDS', help="the demo's photograph instead")
    parser.add_argument('--by', metavar='TABLE|PATTERN', help='groups of people, as of `mmrbgan evaluate`')
    parser.add_argument('--metrics', nargs='+', default=METRICS, help='(default: %(default)s)')
    parser.add_argument('--markdown', help="write the last weights' table here")
    parser.add_argument('--identity', help='weights of the recogniser MMRBGANMobileFaceNet, a second opinion to dlib')
    parser.add_argument(
        '--sheet', help="write sixteen of the last weights' faces here, from the lightest skin to the darkest"
    )
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
            gains = compare(before, after, args.by)
            print(*worst(gains), sep='\n')
        if args.markdown:
            Path(args.markdown).write_text(markdown(gains), encoding='utf-8')
        if args.sheet:
            rows = by_skin(list(zip(pictures['lq'], images, pictures['gt'], strict=True)))
            save(Path(args.sheet), contact_sheet(rows, 2 * ('degraded', 'restored', 'original')))


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
    """Run the network of a file over (3, s, s) tensors in [-1, 1]; one of another size gets them scaled, and back."""
    network = load_network(weights)

    def run(faces: torch.Tensor) -> torch.Tensor:
        return scale(network(scale(faces, network.out_size)), faces.shape[-1])

    with torch.inference_mode():
        batches = [run(torch.stack(inputs[i : i + BATCH])) for i in range(0, len(inputs), BATCH)]
    return [to_picture(image) for image in torch.cat(batches)]


def scale(faces: torch.Tensor, size: int) -> torch.Tensor:
    """(b, 3, s, s) -> (b, 3, size, size), bicubic."""
    if faces.shape[-1] == size:
        return faces
    return torch.nn.functional.interpolate(faces, size=(size, size), mode='bicubic', antialias=True)


def by_skin(faces: list[tuple[np.ndarray, ...]]) -> list[list[np.ndarray]]:
    """Choose sixteen faces at equal steps from the lightest to the darkest, two of them a row.

    Args:
        faces: RGB uint8 (s, s, 3) each: degraded, restored, original, whose middle tells the skin.
    """
    side = len(faces[0][-1])
    middle = slice(2 * side // 5, 3 * side // 5)
    ordered = sorted(faces, key=lambda face: -np.median(face[-1][middle, middle]))
    chosen = [ordered[i] for i in np.linspace(0, len(ordered) - 1, min(16, len(ordered))).round().astype(int)]
    half = len(chosen) // 2
    return [[*one, *other] for one, other in zip(chosen[:half], chosen[half : 2 * half], strict=True)]


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
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


def score(root: Path, kind: str, args: argparse.Namespace) -> Record:
    """Let `mmrbgan evaluate` score a folder against the ground truth."""
    record = root / f'{kind}.json'
    command = ['evaluate', str(root / kind), '--gt', str(root / 'gt'), '--out', str(record), '--by-pose']
    command += ['--landmarks', str(resolve_root(args.faces) / 'landmarks.csv'), '--metrics', *args.metrics]
    if args.identity:
        command += ['identity_mobilefacenet', '--weights', f'identity_mobilefacenet={args.identity}']
    if cli.main(command):
        raise SystemExit(1)
    return read_record(record)


Gain = tuple[float, float, Summary]
"""Mean before, mean after, the gain face by face."""


def compare(before: Record, after: Record, by: str | None) -> dict[str, tuple[int, dict[str, Gain]]]:
    """Print every metric before and after, and the gain, over all faces, by pose and by group; return part -> gains."""
    names = [face['name'] for face in before.faces]
    masks = [('all', np.ones(len(names), bool)), *pose_masks([face['yaw'] for face in before.faces])]
    masks += [mask for grouping in find_groups(by, names) for mask in grouping.masks(names)]
    columns = [name for name in before.summaries if name in after.summaries]
    pairs = {face['name']: face for face in after.faces}
    found = {}
    for label, mask in masks:
        faces = [face for face, chosen in zip(before.faces, mask, strict=True) if chosen]
        gains = {name: one for name in columns if (one := gain(faces, pairs, name)) is not None}
        found[label] = len(faces), gains
        print(f'  {label}: {len(faces)} faces')
        for name, one in gains.items():
            print(f'    {name:32} {show(one, 4)}; {column(name).better} is better')
    return found


def gain(faces: list[Mapping[str, Any]], pairs: Mapping[str, Mapping[str, Any]], name: str) -> Gain | None:
    """Return what faces gained in a column; those that either side could not score are left out."""
    both = [(face[name], pairs[face['name']][name]) for face in faces if face['name'] in pairs]
    scored = np.array([(one, other) for one, other in both if one is not None and other is not None], float)
    if not len(scored):
        return None
    before, after = scored.mean(axis=0)
    return before, after, summarise(scored[:, 1] - scored[:, 0])


def show(one: Gain, digits: int) -> str:
    """Return before -> after (gain; interval)."""
    before, after, difference = one
    interval = '' if difference.low is None else f'; {difference.low:+.{digits}f} to {difference.high:+.{digits}f}'
    return f'{before:.{digits}f} → {after:.{digits}f} ({difference.mean:+.{digits}f}{interval})'


def worst(gains: Mapping[str, tuple[int, Mapping[str, Gain]]]) -> list[str]:
    """Return a line per column that names the part that gained least."""
    parts = {label: columns for label, (count, columns) in gains.items() if label != 'all' and count >= LEAST}
    lines = []
    for name in gains['all'][1]:
        sign = 1 if column(name).better == 'higher' else -1
        scored = [label for label in parts if name in parts[label]]
        if scored:
            label = min(scored, key=lambda one: sign * (parts[one][name][2].mean or 0))
            lines.append(f'  least gain in {name}: {label} {show(parts[label][name], 4)}')
    return lines


def markdown(gains: Mapping[str, tuple[int, Mapping[str, Gain]]]) -> str:
    """Return the table of the model card."""
    names = [name for name in IN_CARD if name in gains['all'][1]]
    lines = [
        '| faces | ' + ' | '.join(column(name).heading for name in names) + ' |',
        '| --- ' * (len(names) + 1) + '|',
    ]
    for label, (count, columns) in gains.items():
        cells = [show(columns[name], column(name).digits) if name in columns else '-' for name in names]
        lines.append(f'| {label} ({count}) | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    main()
