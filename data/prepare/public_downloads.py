"""Reads the public downloads of the paper's test sets (section 4.1), each in the layout its publisher ships."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmrbgan_arch.support.errors import UsageError

from ..components import read_landmarks, yaw_of
from ..images import list_images

WFLW_TO_68 = (
    *range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60), 60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75,
    *range(76, 96),
)  # fmt: skip
FIVE_POINT_FILES = ('list_landmarks_celeba.txt', 'list_landmarks_align_celeba.txt')
"""CelebA's own; a similarity lies between the two, which leaves the yaw as it is."""
MAPPING_FILE = 'CelebA-HQ-to-CelebA-mapping.txt'
WFLW_LISTS = 'list_98pt_rect_attr_*.txt'


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """An image whose face may belong to a set.

    Attributes:
        name: of the file to write, without its suffix.
        path: of the photograph.
        landmarks: known ones (68, 2); None: find the largest face.
        score: by which it is chosen, once known.
    """

    name: str
    path: Path
    landmarks: np.ndarray | None = None
    score: float | None = None


def celeba(root: Path) -> Iterator[Candidate]:
    """CelebA-HQ as in CelebAMask-HQ: 30,000 good faces."""
    folder = next(
        (path for path in (root / 'CelebA-HQ-img', root / 'CelebAMask-HQ' / 'CelebA-HQ-img') if path.is_dir()), root
    )
    for name in list_images(folder):
        if Path(name).stem.isdigit():
            yield Candidate(f'{int(Path(name).stem):05d}', folder / name)


def celeba_yaws(root: Path, landmarks: Path | None) -> dict[str, float]:
    """Return candidate's name -> yaw, from a landmarks.csv of CelebA-HQ's images or from CelebA's own five points.

    Raises:
        UsageError: neither is there.
        ValueError: a damaged file.
    """
    if landmarks is not None:
        found = read_landmarks(landmarks)
        return {f'{int(stem):05d}': yaw_of(found[name]) for name in found if (stem := Path(name).stem).isdigit()}
    points = next(filter(None, (_find(root, name) for name in FIVE_POINT_FILES)), None)
    mapping = _find(root, MAPPING_FILE)
    if points is None or mapping is None:
        missing = FIVE_POINT_FILES[0] if points is None else MAPPING_FILE
        raise UsageError(
            f'--root {root}: no {missing}, from which the yaw of the faces is known; put it there '
            f'(CelebA and CelebAMask-HQ have it), or name a landmarks.csv with --landmarks'
        )
    rows = (line.split() for line in points.read_text().splitlines()[2:])
    yaws = {row[0]: yaw_of(np.array(row[1:11], float).reshape(5, 2)) for row in rows if row}
    numbers = (line.split() for line in mapping.read_text().splitlines()[1:])
    return {f'{int(row[0]):05d}': yaws[row[-1]] for row in numbers if row and row[-1] in yaws}


def lfw(root: Path) -> Iterator[Candidate]:
    """Every image, each in its person's folder."""
    for name in list_images(root):
        if '/' in name:
            yield Candidate(Path(name).stem, root / name)


def webface(root: Path) -> Iterator[Candidate]:
    """First image of each of the 10,575 people, each in a folder; faces of one person are much alike."""
    seen = set()
    for name in list_images(root):
        person = (root / name).parent
        if person != root and person not in seen:
            seen.add(person)
            yield Candidate(person.name, root / name)


def fddb(root: Path) -> Iterator[Candidate]:
    """Every photograph of the ten folds: its name, the number of its ellipses, and a line for each of them."""
    for fold in sorted(root.rglob('FDDB-fold-*-ellipseList.txt')):
        lines = iter(fold.read_text().splitlines())
        for line in lines:
            for _ in range(int(next(lines))):
                next(lines)
            name = line.strip()
            places = (root / 'originalPics' / f'{name}.jpg', root / f'{name}.jpg')
            yield Candidate(name.replace('/', '_'), next((place for place in places if place.is_file()), places[0]))


def wflw(root: Path) -> Iterator[Candidate]:
    """Every image of both lists with its largest face: 98 points, a rectangle, six attributes, the image."""
    images = root / 'WFLW_images' if (root / 'WFLW_images').is_dir() else root
    largest: dict[str, np.ndarray] = {}
    for path in sorted(root.rglob(WFLW_LISTS)):
        for line in path.read_text().splitlines():
            values = line.split()
            points, name = np.array(values[:196], float).reshape(98, 2), values[206]
            if name not in largest or _extent(points) > _extent(largest[name]):
                largest[name] = points
    for name, points in largest.items():
        stem = name.rpartition('.')[0].replace('/', '_')
        yield Candidate(stem, images / name, points[list(WFLW_TO_68)])


def _find(root: Path, name: str) -> Path | None:
    """Return the first file of this name under ``root``."""
    return next(iter(sorted(root.rglob(name))), None)


def _extent(points: np.ndarray) -> float:
    return float(np.ptp(points, axis=0).max())
