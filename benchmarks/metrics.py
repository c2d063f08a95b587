"""NIQE and FID's distance beside BasicSR's own: seconds and values on this machine, with random or given faces.

python benchmarks/metrics.py [--faces FOLDER] [--count 12] [--dimensions 2048]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy import linalg

from mmrbgan_arch import basicsr_bridge
from mmrbgan_data.images import list_images, read_image, resize_square
from mmrbgan_model.metrics.fid import FeatureSums
from mmrbgan_model.metrics.frechet import frechet_distance
from mmrbgan_model.metrics.niqe import niqe

SIZE = 512


def main() -> None:
    """Print a line per metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--faces', metavar='FOLDER', help='aligned faces (default: drawn ones)')
    parser.add_argument('--count', type=int, default=12)
    parser.add_argument('--dimensions', type=int, default=2048, help="of FID's features")
    parser.add_argument('--images', type=int, default=3000, help='whose features FID compares; 0: leave it out')
    args = parser.parse_args()
    basicsr_bridge.connect()
    print(f'{torch.get_num_threads()} torch threads')
    compare_niqe(load_faces(args.faces, args.count))
    if args.images:
        compare_fid(args.dimensions, args.images)


def load_faces(folder: str | None, count: int) -> np.ndarray:
    """RGB uint8 (n, 512, 512, 3)."""
    if folder is None:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
        return np.stack([cv2.GaussianBlur(one, (0, 0), 1 + i % 4) for i, one in enumerate(noise)])
    names = list_images(folder)[:count]
    return np.stack([resize_square(read_image(Path(folder) / name), SIZE) for name in names])


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result, the seconds that passed, and the processor's seconds."""
    start, busy = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - start, time.process_time() - busy


def compare_niqe(faces: np.ndarray) -> None:
    """BasicSR's calculate_niqe, picture by picture, beside ours, picture by picture."""
    from basicsr.metrics.niqe import calculate_niqe

    niqe(faces[:1])  # reads the model
    rows = []
    for face in faces:  # face by face in turn, so that what else the machine does strikes both
        theirs, *slow = timed(lambda face=face: calculate_niqe(face[..., ::-1], 0))
        ours, *fast = timed(lambda face=face: niqe(face[None])[0])
        rows.append((theirs, ours, *slow, *fast))
    theirs, ours = np.array(rows)[:, :2].T
    slow, slow_busy, fast, fast_busy = np.median(np.array(rows)[:, 2:], axis=0)
    print(
        f'NIQE, median of {len(faces)} faces of {SIZE} px: {slow:.4f} s there, {fast:.4f} s here: '
        f'{slow / fast:.1f} times as fast ({slow_busy / fast_busy:.1f} in processor seconds); largest difference '
        f'{np.abs(ours - theirs).max():.1e} ({np.abs(ours / theirs - 1).max():.1e} of the value)'
    )


def compare_fid(dimensions: int, images: int) -> None:
    """BasicSR's calculate_fid (scipy's sqrtm) beside ours, from the same means and covariances."""
    from basicsr.metrics.fid import calculate_fid

    scale = np.exp(-np.arange(dimensions) / (dimensions / 7))
    rng = np.random.default_rng(0)
    gaussians = []
    for shift in (0.0, 0.01):
        sums = FeatureSums(dimensions)
        sums.add((rng.standard_normal((images, dimensions)) * scale + shift).astype(np.float32))
        gaussians.append(sums.gaussian())
    a, b = gaussians
    ours, fast, fast_busy = timed(lambda: frechet_distance(a, b))
    covariances = [one.factor.T @ one.factor for one in gaussians]
    theirs, slow, slow_busy = timed(lambda: calculate_fid(a.mean, covariances[0], b.mean, covariances[1]))
    plain = formula(a.mean, covariances[0], b.mean, covariances[1]) if dimensions <= 512 else theirs
    print(
        f'FID distance, {dimensions} features: {slow:.2f} s there, {fast:.2f} s here: {slow / fast:.1f} times as fast '
        f'({slow_busy / fast_busy:.1f} in processor seconds); {theirs:.6f} and {ours:.6f}, '
        f'difference {abs(ours - theirs):.1e}, from the plain formula {abs(ours - plain):.1e}'
    )


def formula(mu1: np.ndarray, c1: np.ndarray, mu2: np.ndarray, c2: np.ndarray) -> float:
    """The formula as it is written."""
    return float((mu1 - mu2) @ (mu1 - mu2) + np.trace(c1 + c2 - 2 * linalg.sqrtm(c1 @ c2).real))


if __name__ == '__main__':
    main()
