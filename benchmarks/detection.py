"""How many faces each detector finds: clean, degraded, turned, on large sheets; false finds; time beside dlib's.

    python benchmarks/detection.py [--faces FOLDER] [--sets ...] [--share 1] [--parts ...] [--detectors ...]

FOLDER holds folders of aligned faces of 256 px with landmarks.csv (--sets val256 val_groups256), whole/ and lfw/. Each
face is laid, its edges faded out, on a photograph of 1,000 px without people that comes with scikit-image, 128 to 512
px wide, and degraded by Eq. 17 with its lengths in proportion to that width. A face counts as found where the mean
distance of its five points is below a third of its size. Seeds are fixed; --share 0.2 takes every fifth face.

The thresholds in `mmrbgan_data.detection` were chosen on other faces, and on photographs of animals:

    python benchmarks/detection.py --sets train256 --share 0.02 --parts thresholds [--empty FOLDER]
"""

import argparse
import dataclasses
import functools
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from skimage import data

from mmrbgan.restoring.demo import photographs
from mmrbgan_data.alignment import apply, five_points, resize_matrix
from mmrbgan_data.components import read_landmark_rows, yaw_of
from mmrbgan_data.degradation import DegradationOptions, degrade, draw_degradation
from mmrbgan_data.detected_face import DetectedFace, roll_of
from mmrbgan_data.detection import DETECTORS, CenterFaceDetector, Detector, make_detector
from mmrbgan_data.images import list_images, read_image

SIDE, FACE_SIDES = 1000, (128, 512)
BACKGROUNDS = (
    'coffee', 'grass', 'brick', 'gravel', 'rocket', 'chelsea', 'coins', 'page', 'hubble_deep_field', 'retina',
    'immunohistochemistry', 'moon',
)  # fmt: skip
POSES = (('frontal', 0, 0.1), ('slightly turned', 0.1, 0.25), ('turned', 0.25, 9))
SHEETS, SHEET_FACES, SHEET_FACE = (2400, 4000, 6000, 8000), 40, 220
PAGE, PAGE_FACE = (10_000, 10_000), 60
ROWS, GROUP_FACE = (9, 10, 10), 130  # faces in each row of the group, side of their crops


class Example(NamedTuple):
    """A photograph with one face."""

    clean: np.ndarray
    degraded: np.ndarray
    points: np.ndarray
    yaw: float


class Source(NamedTuple):
    """Where faces come from: a folder, and which of the folders in it hold aligned ones."""

    folder: Path
    sets: tuple[str, ...]
    empty: Path | None


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--faces', type=Path, default=Path('../shared/faces'))
    parser.add_argument('--sets', nargs='+', default=['val256', 'val_groups256'])
    parser.add_argument('--share', type=float, default=1)
    parser.add_argument('--empty', type=Path, help='a folder of photographs without people, for --parts thresholds')
    parts = {
        'degraded': degraded, 'turned': turned, 'sheets': sheets, 'group': group, 'whole': whole, 'demo': demo,
        'time': times, 'thresholds': thresholds,
    }  # fmt: skip
    parser.add_argument('--parts', nargs='+', choices=parts, default=list(parts)[:-1])
    parser.add_argument('--detectors', nargs='+', choices=DETECTORS, default=['centerface', 'dlib', 'retinaface'])
    parser.add_argument('--retinaface-weights', type=Path, help='detection_mobilenet0.25_Final.pth')
    args = parser.parse_args()
    print(f'python benchmarks/detection.py --share {args.share:g}, {cv2.getNumThreads()} threads')
    for part in args.parts:
        parts[part](
            Source(args.faces, tuple(args.sets), args.empty),
            args.share,
            detectors(args.detectors, args.retinaface_weights),
        )
        sys.stdout.flush()


def detectors(names: list[str], retinaface: Path | None) -> dict[str, Detector]:
    """Return those whose files are here."""
    found = {}
    for name in names:
        try:
            found[name] = make_detector(name, retinaface if name == 'retinaface' else None)
        except ValueError as error:
            print(f'({name} is left out: {error})')
    return found


@functools.cache
def faces(source: Source) -> list[tuple[Path, np.ndarray, float]]:
    """Return file, five points and yaw of every face."""
    found = []
    for name in source.sets:
        folder = source.folder / name
        for file, points in read_landmark_rows(folder / 'landmarks.csv'):
            found.append((folder / file, five_points(points), abs(yaw_of(points))))
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


def examples(source: Source, share: float, with_degraded: bool = True) -> Iterator[Example]:
    """Yield the photographs, the same for the same seed."""
    rng, behind = np.random.default_rng(0), backgrounds()
    for number, (file, points, yaw) in enumerate(faces(source)):
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
        clean = paste(behind[number % len(behind)], read_image(file), int(x), int(y), side)
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


def degraded(source: Source, share: float, detectors: dict[str, Detector]) -> None:
    """Recall by yaw, false finds."""
    for kind in ('clean', 'degraded'):
        print(f'\n| {kind} | frontal | slightly turned | turned | false finds in 100 | uncertain | CPU ms |')
        print('| --- | --- | --- | --- | --- | --- | --- |')
        chosen = list(examples(source, share, kind == 'degraded'))
        for name, detect in detectors.items():
            hits: dict[str, list[bool]] = {pose: [] for pose, _, _ in POSES}
            false = uncertain = 0
            cpu = 0.0
            for example in chosen:
                found, _, seconds = spent(getattr(detect, 'search', detect), getattr(example, kind))
                cpu += seconds
                certain = [is_it(face, example.points) for face in found if face.certain]
                pose = next(pose for pose, low, high in POSES if low <= example.yaw < high)
                hits[pose].append(any(certain))
                false += certain.count(False)
                uncertain += len(found) - len(certain)
            cells = [f'{sum(each)} of {len(each)} ({100 * np.mean(each):.0f} %)' for each in hits.values()]
            cells += [f'{100 * false / len(chosen):.1f}', str(uncertain), f'{1e3 * cpu / len(chosen):.0f}']
            print(f'| {name} | {" | ".join(cells)} |', flush=True)


def turned(source: Source, share: float, detectors: dict[str, Detector]) -> None:
    """Recall of clean photographs that are turned or tilted."""
    print('\n| clean, turned by | 0 | 90 | 180 | 270 | 45 degrees |')
    print('| --- | --- | --- | --- | --- | --- |')
    chosen = list(examples(source, share / 2, with_degraded=False))
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


def sheets(source: Source, share: float, detectors: dict[str, Detector]) -> None:
    """40 faces of 220 px on larger and larger sheets, and one of 60 px on a page of 100 megapixels."""
    portraits = [read_image(file) for file in frontal(source)[:SHEET_FACES]]
    detect = make_detector('auto')
    print('\n| sheet | faces found | seconds | CPU seconds | memory beyond the picture, MB |')
    print('| --- | --- | --- | --- | --- |')
    for side in SHEETS:
        page, corners = sheet(side, side, portraits, SHEET_FACE)
        print(f'| {side} x {side} | {measure(detect, page, corners, SHEET_FACE)} |', flush=True)
    page, corners = sheet(*PAGE, portraits[:1], 2 * PAGE_FACE)  # the face is half as wide as its crop
    print(f'| {PAGE[0]} x {PAGE[1]}, one of {PAGE_FACE} px | {measure(detect, page, corners, 2 * PAGE_FACE)} |')


def frontal(source: Source) -> list[Path]:
    """Return the faces that look at the camera."""
    return [file for file, _, yaw in faces(source) if yaw < 0.25]


def group(source: Source, share: float, detectors: dict[str, Detector]) -> None:
    """29 faces in an old photograph of three rows: grey, soft, with grain."""
    image, corners = group_photograph([read_image(file) for file in frontal(source)[: sum(ROWS)]])
    print(f'\n| old photograph of {sum(ROWS)} in three rows, {image.shape[1]} x {image.shape[0]} | found | false |')
    print('| --- | --- | --- |')
    for name, detect in detectors.items():
        hits, false = hits_of(detect(image), corners, GROUP_FACE)
        print(f'| {name} | {hits} | {false} |', flush=True)


def group_photograph(portraits: list[np.ndarray]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return the photograph and the corners of its faces."""
    step = GROUP_FACE * 4 // 5
    image = np.empty((step * 6, step * (max(ROWS) + 2), 3), np.uint8)
    image[:] = 90
    corners = []
    for row, count in enumerate(ROWS):
        left = (image.shape[1] - (count - 1) * step - GROUP_FACE) // 2
        corners += [(left + column * step, step + row * step * 5 // 4) for column in range(count)]
    for portrait, (x, y) in zip(portraits, corners, strict=True):
        image = paste(image, portrait, x, y, GROUP_FACE)
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.2)
    grain = np.random.default_rng(0).normal(0, 9, grey.shape)
    return np.dstack([np.clip(grey * 0.8 + 30 + grain, 0, 255).astype(np.uint8)] * 3), corners


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
    hits, false = hits_of(found, corners, side)
    return f'{hits} of {len(corners)}, {false} false | {wall:.1f} | {cpu:.1f} | {peak_mb() - before:.0f}'


def hits_of(found: Sequence[DetectedFace], corners: list[tuple[int, int]], side: int) -> tuple[int, int]:
    """Return how many squares of ``side`` at the corners have a face in their middle, and how many finds are left."""
    centres = [(face.box[:2] + face.box[2:]) / 2 for face in found]
    hits = sum(
        any(np.abs(centre - (np.array(corner) + side / 2)).max() < side / 3 for centre in centres) for corner in corners
    )
    return hits, len(found) - hits


def reset_peak() -> None:
    """Let Linux measure the peak of memory anew."""
    Path('/proc/self/clear_refs').write_text('5')


def peak_mb() -> float:
    """Return the peak of resident memory since the last reset in MB."""
    status = Path('/proc/self/status')
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.read_text().split('VmHWM:')[1].split()[0]) / 1024


def thresholds(source: Source, share: float, detectors: dict[str, Detector]) -> None:
    """Scores of true and of false finds: of degraded upright faces and of clean ones at any angle."""
    search = CenterFaceDetector().search
    search.thresholds = dataclasses.replace(search.thresholds, uncertain=0.15, turned_uncertain=0.15)
    scores: dict[str, list[float]] = {kind: [] for kind in ('true', 'false', 'true, turned', 'false, turned')}
    rng, count = np.random.default_rng(1), 0
    for number, example in enumerate(examples(source, share)):
        matrix = cv2.getRotationMatrix2D(((SIDE - 1) / 2,) * 2, rng.uniform(35, 325), 1)
        if number % 2 or (apply(matrix, example.points) % SIDE != apply(matrix, example.points)).any():
            image, points = example.degraded, example.points
        else:
            image = cv2.warpAffine(example.clean, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
            points = apply(matrix, example.points)
        count += 1
        add_scores(scores, search(image), points)
    for image in photographs_in(source.empty) if source.empty else []:
        add_scores(scores, search(image), None)
    print(f'\n| {count} photographs: finds from a score of | {" | ".join(scores)} |')
    print('| --- | --- | --- | --- | --- |')
    for least in np.arange(0.3, 0.85, 0.05):
        print(f'| {least:.2f} | {" | ".join(str(sum(one >= least for one in each)) for each in scores.values())} |')


def add_scores(scores: dict[str, list[float]], found: Sequence[DetectedFace], points: np.ndarray | None) -> None:
    """Sort the finds of a photograph; a face's own points say whether it is turned."""
    for face in found:
        true = points is not None and is_it(face, points)
        kind = ', turned' if abs(roll_of(face.landmarks)) > 35 else ''
        if true or points is None or np.linalg.norm(face.landmarks.mean(0) - points.mean(0)) > face.side / 2:
            scores[f'{str(true).lower()}{kind}'].append(face.score)


def whole(source: Source, share: float, detectors: dict[str, Detector]) -> None:
    """Faces in photographs as published, beside dlib's."""
    dlib, default = make_detector('dlib'), make_detector('auto')
    print('\n| photographs | dlib | default | with fewer than dlib |')
    print('| --- | --- | --- | --- |')
    for name in ('whole', 'lfw'):
        images = photographs_in(source.folder / name)[:: round(1 / share)]
        counts = np.array([(len(dlib(image)), len(default(image))) for image in images])
        fewer = (counts[:, 1] < counts[:, 0]).sum()
        print(f'| {name}, {len(images)} | {counts[:, 0].sum()} | {counts[:, 1].sum()} | {fewer} |')
    print(f'dogs.jpg: {len(default(read_image(source.folder / "whole" / "dogs.jpg")))} faces', flush=True)


def photographs_in(folder: Path) -> list[np.ndarray]:
    """Return every photograph of a folder."""
    return [read_image(folder / file) for file in list_images(folder)]


def demo(_: Source, share: float, detectors: dict[str, Detector]) -> None:
    """The demo's face at the first 90 seeds."""
    seeds = range(0, 90, round(1 / share))
    pictures = [photographs(seed)[1] for seed in seeds]
    for name, detect in detectors.items():
        print(
            f'demo, {len(seeds)} seeds: {name} finds a face at {sum(bool(detect(one)) for one in pictures)}', flush=True
        )


def times(source: Source, share: float, detectors: dict[str, Detector]) -> None:
    """Time beside dlib's on photographs below a megapixel, in turn."""
    sets: dict[str, list[np.ndarray]] = {
        'whole, below a megapixel': photographs_in(source.folder / 'whole'),
        'lfw': photographs_in(source.folder / 'lfw')[:: round(4 / share)],
        'degraded, 1,000 px': [example.degraded for example in examples(source, 0.1 * share)],
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
