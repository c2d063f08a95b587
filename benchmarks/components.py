"""How well dlib's landmarks stand in for those made by hand: distance of component centres, share of faces found.

python benchmarks/components.py FOLDER [--retinaface WEIGHTS]

FOLDER holds aligned faces and a landmarks.csv made by hand (68 points). Distances are in pixels at 512 px.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from mmrbgan_data.alignment import five_points
from mmrbgan_data.components import NAMES, REFERENCE_SIZE, circles_from_landmarks, read_landmarks, yaw_of
from mmrbgan_data.images import read_image
from mmrbgan_data.prepare.cropping import CropSettings, find_landmarks

BINS = ((-9.0, -0.25), (-0.25, -0.1), (-0.1, 0.1), (0.1, 0.25), (0.25, 9.0))


def distances(image: np.ndarray, by_hand: np.ndarray, settings: CropSettings) -> np.ndarray | None:
    """Return the distance (k,) of each component's centre at 512 px, None where the face is not found.

    Of several faces in a picture, the one nearest to the hand-made points is meant.
    """
    scale = REFERENCE_SIZE / image.shape[0]
    truth = circles_from_landmarks(by_hand * scale, REFERENCE_SIZE)[:, :2]
    eyes = np.linalg.norm(truth[1] - truth[0])
    best = None
    for points in find_landmarks(image, settings):
        if len(points) == 5:
            centres = np.stack([*points[:2], points[3:].mean(0)]) * scale + 0.5
        else:
            centres = circles_from_landmarks(points * scale, REFERENCE_SIZE)[:, :2]
        found = np.linalg.norm(centres - truth, axis=1)
        if np.linalg.norm(five_points(points) * scale - five_points(by_hand) * scale, axis=1).mean() < eyes / 2:
            best = found if best is None or found.mean() < best.mean() else best
    return best


def report(rows: Sequence[tuple[float, np.ndarray | None]]) -> None:
    """Print one line per yaw bin, and one for all."""
    print(f'{"yaw":>14} {"faces":>6} {"found":>6} ' + ' '.join(f'{name:>9}' for name in NAMES) + '      mean')
    for low, high in (*BINS, (-9.0, 9.0)):
        inside = [found for yaw, found in rows if low <= yaw < high]
        hits = [found for found in inside if found is not None]
        mean = np.mean(hits, 0) if hits else np.full(len(NAMES), np.nan)
        share = f'{100 * len(hits) / len(inside):.0f} %' if inside else '-'
        label = f'{low:.2f} to {high:.2f}' if low > -9 or high < 9 else 'all'
        label = label.replace('-9.00 to', 'below').replace('to 9.00', 'and above')
        print(f'{label:>14} {len(inside):6} {share:>6} ' + ' '.join(f'{v:9.2f}' for v in mean) + f' {mean.mean():9.2f}')


def main() -> None:
    """Measure every face of the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--retinaface', metavar='WEIGHTS', help='measure RetinaFace with these weights, not dlib')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    settings = CropSettings(detector='retinaface' if args.retinaface else 'dlib', detector_weights=args.retinaface)
    rows = []
    for name, by_hand in tqdm(read_landmarks(args.folder / 'landmarks.csv').items(), unit='face'):
        rows.append((yaw_of(by_hand), distances(read_image(args.folder / name), by_hand, settings)))
    report(rows)


if __name__ == '__main__':
    main()
