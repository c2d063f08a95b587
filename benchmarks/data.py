"""How fast training data are made: a sample of ours and of GFPGAN's, the index of 70,000 files, and `prepare`.

    python benchmarks/data.py [--faces FOLDER_OF_512_PX_FACES]

One core, one OpenCV thread, 512 px, the same ranges and the same files, in turn. GFPGAN's dataset comes from PyPI
(`pip install --no-deps gfpgan`, and basicsr and facexlib, which this project installs); its JPEG quality is cast to int
here, without which it fails on OpenCV 5. Without gfpgan that part is left out, and says so.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[name] = '1'

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from mmrbgan_arch import basicsr_bridge  # noqa: E402
from mmrbgan_data.components import circles_from_landmarks, write_components, write_landmarks  # noqa: E402
from mmrbgan_data.datasets.degradation_dataset import MMRBGANDegradationDataset  # noqa: E402
from mmrbgan_data.drawn.drawing import draw_face  # noqa: E402
from mmrbgan_data.images import encode_png, list_images, write_image  # noqa: E402

SIZE, ROUNDS, FILES = 512, 10, 70_000
RANGES = {'downscale': [0.4, 8], 'noise': [0, 25], 'jpeg': [5, 50]}


def ours(folder: Path) -> Callable[[int], Any]:
    """Return our dataset's item getter: all three kernels, randomness per sample, component boxes."""
    options = {'image_size': SIZE, 'degradation': RANGES, 'component_path': str(folder.parent / 'landmarks.csv')}
    dataset = MMRBGANDegradationDataset({'dataroot_gt': str(folder), **options})
    return lambda number: dataset[number // len(dataset), number % len(dataset)]


def gfpgan(folder: Path) -> Callable[[int], Any] | None:
    """Return the item getter of GFPGAN's dataset with the same ranges and no colour jitter, None without gfpgan."""
    if importlib.util.find_spec('gfpgan') is None:
        return None
    basicsr_bridge.connect()
    degradations = importlib.import_module('basicsr.data.degradations')
    compress = degradations.add_jpg_compression
    degradations.add_jpg_compression = lambda image, quality=90: compress(image, int(quality))
    module = importlib.import_module('gfpgan.data.ffhq_degradation_dataset')
    dataset = module.FFHQDegradationDataset({
        'dataroot_gt': str(folder), 'io_backend': {'type': 'disk'}, 'use_hflip': True, 'out_size': SIZE,
        'mean': [0.5] * 3, 'std': [0.5] * 3, 'blur_kernel_size': 41, 'kernel_list': ['iso', 'aniso'],
        'kernel_prob': [0.5, 0.5], 'blur_sigma': [0.1, 10], 'downsample_range': RANGES['downscale'],
        'noise_range': RANGES['noise'], 'jpeg_range': RANGES['jpeg'],
    })  # fmt: skip
    return lambda number: dataset[number % len(dataset)]


def time_in_turn(getters: dict[str, Callable[[int], Any]], samples: int) -> dict[str, float]:
    """Return milliseconds of processor time per sample, the median over ROUNDS of ``samples`` each, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in getters}
    for turn in range(ROUNDS):
        for name, get in getters.items():
            start = time.process_time()
            for number in range(samples):
                get(turn * samples + number)
            times[name].append(1000 * (time.process_time() - start) / samples)
    return {name: median(values) for name, values in times.items()}


def compare(folder: Path) -> None:
    """Print milliseconds per sample and their ratio."""
    getters = {'ours': ours(folder), 'gfpgan': gfpgan(folder)}
    times = time_in_turn({name: get for name, get in getters.items() if get}, len(list_images(folder)))
    for name, value in times.items():
        print(f'{name}: {value:.1f} ms per sample of {SIZE} px')
    if 'gfpgan' in times:
        print(f'ratio ours / gfpgan: {times["ours"] / times["gfpgan"]:.2f} (to be at most 0.60)')
    else:
        print('gfpgan is not installed: `pip install --no-deps gfpgan` for the comparison')


def draw_faces(folder: Path, count: int) -> None:
    """Write ``count`` drawn faces into ``folder``, their landmarks beside it: GFPGAN takes any file for an image."""
    landmarks = {}
    for number in range(count):
        image, points = draw_face(np.random.default_rng(number), SIZE)
        write_image(folder / f'{number}.png', image)
        landmarks[f'{number}.png'] = points
    write_landmarks(folder.parent / 'landmarks.csv', landmarks)


def index_70000(folder: Path) -> None:
    """Print what the index of 70,000 files with their boxes costs a fresh process."""
    tiny = encode_png(np.zeros((1, 1, 3), np.uint8))
    circles = circles_from_landmarks(np.random.default_rng(0).uniform(100, 400, (68, 2)).astype(np.float32), SIZE)
    names = [f'{number:05d}.png' for number in range(FILES)]
    for name in names:
        (folder / name).write_bytes(tiny)
    write_components(folder / 'components.json', dict.fromkeys(names, circles), SIZE)
    report = json.loads(subprocess.check_output([sys.executable, __file__, '--index-of', str(folder)]))
    print(f'index of {FILES} files: {report["seconds"]:.2f} s, {report["megabytes"]:.0f} MB (at most 2 s, 200 MB)')


def measure_index(folder: Path) -> None:
    """In a fresh process: print seconds and peak megabytes that the dataset of ``folder`` adds."""
    before, start = _peak_megabytes(), time.process_time()
    MMRBGANDegradationDataset({'dataroot_gt': str(folder), 'image_size': SIZE})
    print(json.dumps({'seconds': time.process_time() - start, 'megabytes': _peak_megabytes() - before}))


def prepare_rate(folder: Path, landmarks: Path) -> None:
    """Print faces per second of `mmrbgan prepare` with ready landmarks on two processes, from start to end."""
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, '-m', 'mmrbgan.cli', 'prepare', str(folder), '-o', f'{temporary}/out']
        command += ['--landmarks', str(landmarks), '--workers', '2', '--min-sharpness', '0']
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        faces = sum(json.loads(Path(f'{temporary}/out/report.json').read_text())['faces'].values())
    print(f'prepare: {faces} faces in {seconds:.1f} s, {faces / seconds:.1f} per second (at least 4)')


def _peak_megabytes() -> float:
    """Return this process's peak; getrusage would give the parent's, which it inherits."""
    status = Path('/proc/self/status')
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(next(line for line in status.read_text().splitlines() if line.startswith('VmHWM')).split()[1]) / 1024


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--faces', type=Path, help='folder of 512 px faces with landmarks.csv; default: drawn ones')
    parser.add_argument('--index-of', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.index_of:
        measure_index(args.index_of)
        return
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        drawn, many = Path(temporary, 'drawn'), Path(temporary, 'many')
        drawn.mkdir()
        many.mkdir()
        draw_faces(drawn, 24)
        compare(drawn)
        index_70000(many)
        if args.faces:
            prepare_rate(args.faces, args.faces / 'landmarks.csv')
        else:
            prepare_rate(drawn, drawn.parent / 'landmarks.csv')


if __name__ == '__main__':
    main()
