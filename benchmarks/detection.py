"""How many faces each detector finds: clean, degraded, turned, on large sheets; false finds; time beside dlib's.

    python benchmarks/detection.py [--faces FOLDER] [--share 1] [--parts ...] [--detectors ...]

FOLDER holds folders of aligned faces of 256 px with landmarks.csv (val256, val_groups256), whole/ and lfw/. Each face
is laid, its edges faded out, on a photograph of 1,000 px without people that comes with scikit-image, 128 to 512 px
wide, and degraded by Eq. 17 with its lengths in proportion to that width. A face counts as found where the mean
distance of its five points is below a third of its size. Seeds are fixed; --share 0.2 takes every fifth face.

The thresholds in `mmrbgan_data.detection` were chosen on these photographs.
"""

import argparse
import functools
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from skimage import data

from mmrbgan.restoring.demo import photographs
from mmrbgan_data.alignment import apply, five_points, resize_matrix
from mmrbgan_data.components import read_landmark_rows, yaw_of
from mmrbgan_data.degradation import DegradationOptions, degrade, draw_degradation
from mmrbgan_data.detection import DETECTORS, Detector, make_detector
from mmrbgan_data.images import list_images, read_image

SIDE, FACE_SIDES = 1000, (128, 512)
BACKGROUNDS = (
    'coffee', 'grass', 'brick', 'gravel', 'rocket', 'chelsea', 'coins', 'page', 'hubble_deep_field', 'retina',
    'immunohistochemistry', 'moon',
)  # fmt: skip
POSES = (('frontal', 0, 0.1), ('slightly turned', 0.1, 0.25), ('turned', 0.25, 9))
SHEETS, SHEET_FACES, SHEET_FACE = (2400, 4000, 6000, 8000), 40, 220
PAGE, PAGE_FACE = (10_000, 10_000), 60


class Example(NamedTuple):
    """A photograph with one face."""

    clean: np.ndarray
    degraded: np.ndarray
    points: np.ndarray
    yaw: float


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--faces', type=Path, default=Path('../shared/faces'))
    parser.add_argument('--share', type=float, default=1)
    parts = {'degraded': degraded, 'turned': turned, 'sheets': sheets, 'whole': whole, 'demo': demo, 'time': times}
    parser.add_argument('--parts', nargs='+', choices=parts, default=list(parts))
    parser.add_argument('--detectors', nargs='+', choices=DETECTORS, default=['centerface', 'dlib', 'retinaface'])
    args = parser.parse_args()
    print(f'python benchmarks/detection.py --share {args.share:g}, {cv2.getNumThreads()} threads')
    for part in args.parts:
        parts[part](args.faces, args.share, detectors(args.detectors))
        sys.stdout.flush()


def detectors(names: list[str]) -> dict[str, Detector]:
    """Return those whose files are here."""
    found = {}
    for name in names:
        try:
            found[name] = make_detector(name)
        except ValueError as error:
            print(f'({name} is left out: {error})')
    return found


@functools.cache
def faces(folder: Path) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Return image, five points and yaw of every face."""
    found = []
    for name in ('val256', 'val_groups256'):
        for file, points in read_landmark_rows(folder / name / 'landmarks.csv'):
            found.append((read_image(folder / name / file), five_points(points), abs(yaw_of(points))))
    return found


def backgrounds() -> list[np.ndarray]:
    """Return photographs of SIDE pixels."""
    squares = []
    for name in BACKGROUNDS:
        picture = getattr(data, name)()
        picture = np.dstack([picture] * 3) if picture.ndim == 2 else picture[:, :, :3]
        side = min(picture.shape[:2])
        squares.append(cv2.resize(picture[:side, :side], (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    return squares


def examples(folder: Path, share: float, with_degraded: bool = True) -> Iterator[Example]:
    """Yield the photographs, the same for the same seed."""
    rng, behind = np.random.default_rng(0), backgrounds()
    for number, (face, points, yaw) in enumerate(faces(folder)):
        side = int(np.exp(rng.uniform(*np.log(FACE_SIDES))))
        x, y = rng.integers(0, SIDE - side, 2)
        share_of_512 = side / 512
        options = DegradationOptions(
            kernel_size=max(3, int(41 * share_of_512) // 2 * 2 + 1),
            sigma=(0.1, 10 * share_of_512),
            motion_length=(max(1.0, 3 * share_of_512), 41 * share_of_512),
        )
        degradation = draw_degradation(options, rng)
        if int(number * share) == int((number - 1) * share) and number:
            continue
        clean = paste(behind[number % len(behind)], face, int(x), int(y), side)
        degraded = degrade(clean, degradation, options.kernel_size) if with_degraded else clean
        yield Example(clean, degraded, apply(resize_matrix(side / 256), points) + (x, y), yaw)


def paste(background: np.ndarray, face: np.ndarray, x: int, y: int, side: int) -> np.ndarray:
    """Return the background with the face on it, faded out at its edges."""
    scaled = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA if side < 256 else cv2.INTER_CUBIC)
    edge = max(2, side // 12)
    mask = np.zeros((side, side, 1), np.float32)
    mask[edge:-edge, edge:-edge] = 1
    mask = cv2.GaussianBlur(mask, (0, 0), edge / 2.5)[:, :, None]
    result = background.copy()
    place = result[y : y + side, x : x + side]
    place[:] = np.rint(scaled * mask + place * (1 - mask))
    return result


def is_it(face: Any, points: np.ndarray) -> bool:
    """Whether a find is the face with these five points."""
    size = max(np.linalg.norm(points[:2].mean(0) - points[3:].mean(0)), np.linalg.norm(points[1] - points[0]))
    return bool(np.linalg.norm(five_points(face.landmarks) - points, axis=1).mean() < 0.35 * size)


def degraded(folder: Path, share: float, detectors: dict[str, Detector]) -> None:
    """Recall by yaw, false finds."""
    for kind in ('clean', 'degraded'):
        print(f'\n| {kind} | frontal | slightly turned | turned | false finds in 100 photographs | uncertain finds |')
        print('| --- | --- | --- | --- | --- | --- |')
        chosen = list(examples(folder, share, kind == 'degraded'))
        for name, detect in detectors.items():
            hits: dict[str, list[bool]] = {pose: [] for pose, _, _ in POSES}
            false = uncertain = 0
            for example in chosen:
                found = getattr(detect, 'search', detect)(getattr(example, kind))
                certain = [is_it(face, example.points) for face in found if face.certain]
                pose = next(pose for pose, low, high in POSES if low <= example.yaw < high)
                hits[pose].append(any(certain))
                false += certain.count(False)
                uncertain += len(found) - len(certain)
            cells = [f'{sum(each)} of {len(each)} ({100 * np.mean(each):.0f} %)' for each in hits.values()]
            print(f'| {name} | {" | ".join(cells)} | {100 * false / len(chosen):.1f} | {uncertain} |', flush=True)


def turned(folder: Path, share: float, detectors: dict[str, Detector]) -> None:
    """Recall of clean photographs that are turned or tilted."""
    print('\n| clean, turned by | 0 | 90 | 180 | 270 | 45 degrees |')
    print('| --- | --- | --- | --- | --- | --- |')
    chosen = list(examples(folder, share / 2, with_degraded=False))
    for name, detect in detectors.items():
        cells = []
        for angle in (0, 90, 180, 270, 45):
            matrix = cv2.getRotationMatrix2D(((SIDE - 1) / 2,) * 2, angle, 1)
            hits = []
            for example in chosen:
                points = apply(matrix, example.points)
                if (points > 0).all() and (points < SIDE).all():
                    image = cv2.warpAffine(example.clean, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
                    hits.append(any(is_it(face, points) for face in detect(image)))
            cells.append(f'{sum(hits)} of {len(hits)}')
        print(f'| {name} | {" | ".join(cells)} |', flush=True)


def sheets(folder: Path, share: float, detectors: dict[str, Detector]) -> None:
    """40 faces of 220 px on larger and larger sheets, and one of 60 px on a page of 100 megapixels."""
    portraits = [face for face, _, yaw in faces(folder) if yaw < 0.25][:SHEET_FACES]
    detect = make_detector('auto')
    print('\n| sheet | faces found | seconds | CPU seconds | memory beyond the picture, MB |')
    print('| --- | --- | --- | --- | --- |')
    for side in SHEETS:
        page, corners = sheet(side, side, portraits, SHEET_FACE)
        print(f'| {side} x {side} | {measure(detect, page, corners, SHEET_FACE)} |', flush=True)
    page, corners = sheet(*PAGE, portraits[:1], 2 * PAGE_FACE)  # the face is half as wide as its crop
    print(f'| {PAGE[0]} x {PAGE[1]}, one of {PAGE_FACE} px | {measure(detect, page, corners, 2 * PAGE_FACE)} |')


def sheet(height: int, width: int, portraits: list[np.ndarray], side: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return a paper-coloured page with the portraits in rows, and their corners."""
    page = np.empty((height, width, 3), np.uint8)
    page[:] = (226, 219, 203)
    columns = max(1, int(np.ceil(len(portraits) ** 0.5)))
    rows = -(-len(portraits) // columns)
    corners = []
    for number, portrait in enumerate(portraits):
        y = int((number // columns + 0.5) * height / rows - side / 2)
        x = int((number % columns + 0.5) * width / columns - side / 2)
        page[y : y + side, x : x + side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
        corners.append((x, y))
    return page, corners


def measure(detect: Detector, page: np.ndarray, corners: list[tuple[int, int]], side: int) -> str:
    """Return faces found at the corners, seconds and the rise of the peak of memory, as cells."""
    reset_peak()
    before = peak_mb()
    found, wall, cpu = spent(detect, page)
    centres = [(face.box[:2] + face.box[2:]) / 2 for face in found]
    hits = sum(
        any(np.abs(centre - (np.array(corner) + side / 2)).max() < side / 3 for centre in centres) for corner in corners
    )
    return f'{hits} of {len(corners)}, {len(found) - hits} false | {wall:.1f} | {cpu:.1f} | {peak_mb() - before:.0f}'


def reset_peak() -> None:
    """Let Linux measure the peak of memory anew."""
    Path('/proc/self/clear_refs').write_text('5')


def peak_mb() -> float:
    """Return the peak of resident memory since the last reset in MB."""
    status = Path('/proc/self/status')
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.read_text().split('VmHWM:')[1].split()[0]) / 1024


def whole(folder: Path, share: float, detectors: dict[str, Detector]) -> None:
    """Faces in photographs as published, beside dlib's."""
    dlib, default = make_detector('dlib'), make_detector('auto')
    print('\n| photographs | dlib | default | with fewer than dlib |')
    print('| --- | --- | --- | --- |')
    for name in ('whole', 'lfw'):
        images = [read_image(folder / name / file) for file in list_images(folder / name)][:: round(1 / share)]
        counts = np.array([(len(dlib(image)), len(default(image))) for image in images])
        fewer = (counts[:, 1] < counts[:, 0]).sum()
        print(f'| {name}, {len(images)} | {counts[:, 0].sum()} | {counts[:, 1].sum()} | {fewer} |')
    print(f'dogs.jpg: {len(default(read_image(folder / "whole" / "dogs.jpg")))} faces', flush=True)


def demo(_: Path, share: float, detectors: dict[str, Detector]) -> None:
    """The demo's face at the first 90 seeds."""
    seeds = range(0, 90, round(1 / share))
    pictures = [photographs(seed)[1] for seed in seeds]
    for name, detect in detectors.items():
        print(
            f'demo, {len(seeds)} seeds: {name} finds a face at {sum(bool(detect(one)) for one in pictures)}', flush=True
        )


def times(folder: Path, share: float, detectors: dict[str, Detector]) -> None:
    """Time beside dlib's on photographs below a megapixel, in turn."""
    sets: dict[str, list[np.ndarray]] = {
        'whole, below a megapixel': [read_image(folder / 'whole' / file) for file in list_images(folder / 'whole')],
        'lfw': [read_image(folder / 'lfw' / file) for file in list_images(folder / 'lfw')[:: round(4 / share)]],
        'degraded, 1,000 px': [example.degraded for example in examples(folder, 0.1 * share)],
    }
    print("\n| photographs | dlib, ms | default, share of dlib's time | the same in CPU seconds |")
    print('| --- | --- | --- | --- |')
    dlib, default = make_detector('dlib'), make_detector('auto')
    for name, images in sets.items():
        small = [image for image in images if image.shape[0] * image.shape[1] <= 1_000_000]
        dlib(small[0]), default(small[0])
        walls, cpus = np.array([(spent(dlib, image)[1:], spent(default, image)[1:]) for image in small]).sum(0).T
        print(
            f'| {name} | {1e3 * walls[0] / len(small):.0f} | {walls[1] / walls[0]:.2f} | {cpus[1] / cpus[0]:.2f} |',
            flush=True,
        )


def spent(detect: Callable[[np.ndarray], Any], image: np.ndarray) -> tuple[Any, float, float]:
    """Return what one call finds, its wall and its CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = detect(image)
    return found, time.perf_counter() - wall, time.process_time() - cpu


if __name__ == '__main__':
    main()
