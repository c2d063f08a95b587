"""The paper's test sets (section 4.1) from their public downloads.

The paper names counts and the kind of face, but no files, so ours are chosen by a rule and written down:
``selection.json`` holds the rule, every file with its score, the source it came from and its SHA-256, and one hash over
all. Two people with the same list have the same set.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmrbgan_arch.support.atomic_files import write_bytes, write_text
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.json_text import parse_json

from ..alignment import TEMPLATE_512
from ..components import LANDMARKS_FILE, write_landmarks
from ..images import list_images
from . import public_downloads
from .crop_pool import crop_all
from .cropping import Crop, CropSettings, Skip, load_detector
from .photographs import Photograph
from .public_downloads import Candidate


@dataclasses.dataclass(frozen=True)
class TestSet:
    """One of the paper's sets.

    Attributes:
        count: of images in the paper.
        candidates: reads a download.
        order: a key of ``ORDERS``: which of them are taken first.
        rule: what is a candidate, in words.
        source: where to get it.
        layout: what the unpacked download holds.
        aligned: its images are good, aligned faces; the others are real low quality.
        detector: finds their faces, unless another is asked for.
    """

    __test__ = False  # no test for pytest, in spite of its name

    count: int
    candidates: Callable[[Path], Iterator[Candidate]]
    order: str
    rule: str
    source: str
    layout: str
    aligned: bool = False
    detector: str = 'centerface'


@dataclasses.dataclass(frozen=True)
class Making:
    """One set in the making.

    Attributes:
        name: a key of ``SETS``.
        root: the download.
        settings: of the crops.
        seed: of a choice at random.
        landmarks: a landmarks.csv of the images of a set that is chosen by yaw.
        workers: processes.
        skipped: images without a usable face, and why.
    """

    name: str
    root: Path
    settings: CropSettings
    seed: int = 0
    landmarks: Path | None = None
    workers: int = 1
    skipped: list[dict[str, str]] = dataclasses.field(default_factory=list)

    @property
    def test_set(self) -> TestSet:
        """The paper's set."""
        return SETS[self.name]

    def crops(self, candidates: list[Candidate]) -> Iterator[tuple[Candidate, Crop]]:
        """Yield every candidate that has a usable face with its crop, in order; note the others."""
        photographs = [self._photograph(one) for one in candidates]
        for one, (_, faces) in zip(candidates, crop_all(photographs, self.settings, self.workers), strict=True):
            if isinstance(faces[0], Skip):
                self.skip(one, faces[0].reason, faces[0].detail)
            else:
                yield one, faces[0]

    def skip(self, candidate: Candidate, reason: str, detail: str) -> None:
        """Note that a candidate cannot be used."""
        self.skipped.append({'source': self.relative(candidate), 'reason': reason, 'detail': detail})

    def relative(self, candidate: Candidate) -> str:
        """Return where the candidate lies in the download."""
        return candidate.path.relative_to(self.root).as_posix()

    def _photograph(self, candidate: Candidate) -> Photograph:
        known = TEMPLATE_512 if self.settings.aligned else candidate.landmarks
        landmarks = None if known is None else (known,)
        return Photograph(self.relative(candidate), candidate.path, candidate.name, 'test', landmarks)


def make_test_set(making: Making, output: Path) -> str:
    """Write a set into ``output``; return a line that says so.

    The images go to ``output/gt`` where the set is good faces to be degraded, to ``output/lq`` where they are bad ones.

    Raises:
        UsageError: the download is missing or in another layout, or the folder holds something else.
    """
    test_set = making.test_set
    candidates = _candidates(making)
    if not test_set.aligned and any(candidate.landmarks is None for candidate in candidates):
        load_detector(making.settings.detector, making.settings.detector_weights)  # what it misses is one line now
    folder = output / ('gt' if test_set.aligned else 'lq')
    folder.mkdir(parents=True, exist_ok=True)
    earlier = _of_an_earlier_run(output, folder, {f'{candidate.name}.png' for candidate in candidates})
    ranked = ORDERS[test_set.order].rank(candidates, making)
    files, landmarks = _write_crops(ranked, making, folder)
    if landmarks:  # from which `mmrbgan evaluate --by-pose` takes the pose
        write_landmarks(folder / LANDMARKS_FILE, landmarks)
    line = _finish(making, output, len(candidates), files)
    for file in earlier - {item['file'] for item in files}:
        (folder / file).unlink()
    return line


def _candidates(making: Making) -> list[Candidate]:
    name, root, test_set = making.name, making.root, making.test_set
    try:
        found = list(test_set.candidates(root)) if root.is_dir() else []
    except (OSError, ValueError, IndexError, RuntimeError) as error:  # RuntimeError: a list that ends too early
        raise UsageError(
            f'--root {root}: not {name} as published ({error}); it should hold {test_set.layout}'
        ) from error
    if not found:
        raise UsageError(
            f'--root {root}: no {name} here; get it from {test_set.source}; it should hold {test_set.layout}'
        )
    by_name = {candidate.name: candidate for candidate in found}
    for candidate in found:
        if (other := by_name[candidate.name]) is not candidate:
            raise UsageError(f'--root {root}: {candidate.path} and {other.path} share a name; leave one of them there')
    return found


def _of_an_earlier_run(output: Path, folder: Path, names: set[str]) -> set[str]:
    """Return the images in ``folder``; they must be candidates, or an earlier run's, for they would be scored, too."""
    images, selection = set(list_images(folder)), output / 'selection.json'
    if selection.is_file():
        try:
            names = names | {item['file'] for item in parse_json(selection.read_bytes())['files']}
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f'{selection}: damaged; remove it, or choose another -o') from error
    if foreign := sorted(images - names):
        raise UsageError(f'-o {output}: {folder / foreign[0]} is not of this set; choose another -o, or move it away')
    return images


def _write_crops(
    ranked: list[Candidate], making: Making, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Write the crops of the first that can be used; return what selection.json says of them, and their landmarks."""
    from tqdm import tqdm

    files: list[dict[str, Any]] = []
    landmarks: dict[str, np.ndarray] = {}
    count = min(making.test_set.count, len(ranked))
    with tqdm(total=count, desc=making.name, unit='face') as bar:
        for candidate, face in making.crops(ranked) if count else ():
            path = folder / f'{candidate.name}.png'
            write_bytes(path, face.content)
            if len(face.landmarks) > 5:
                landmarks[path.name] = face.landmarks
            files.append(_entry(candidate, making))
            bar.update()
            if len(files) == count:
                break
    return files, landmarks


def _entry(candidate: Candidate, making: Making) -> dict[str, Any]:
    source = hashlib.sha256(candidate.path.read_bytes()).hexdigest()
    entry = {'file': f'{candidate.name}.png', 'source': making.relative(candidate), 'source_sha256': source}
    return entry if candidate.score is None else {**entry, 'score': round(candidate.score, 4)}


def _finish(making: Making, output: Path, candidates: int, files: list[dict[str, Any]]) -> str:
    name, test_set, skipped = making.name, making.test_set, making.skipped
    if not files:
        raise UsageError(f'{name}: none of {len(skipped)} images could be used; first: {skipped[0]["detail"]}')
    files.sort(key=lambda item: item['file'])
    joined = '\n'.join(f'{item["file"]} {item["source_sha256"]}' for item in files)
    digest = hashlib.sha256(joined.encode()).hexdigest()
    selection = {
        'set': name,
        'count': len(files),
        'count_in_paper': test_set.count,
        'candidates': candidates,
        'rule': f'{test_set.rule}; {ORDERS[test_set.order].words}',
        'order': test_set.order,
        **({'seed': making.seed} if test_set.order == 'random' else {}),
        **({'detector': making.settings.detector} if test_set.order == 'sharpness' else {}),
        'size': making.settings.size,
        'sha256': digest,
        'files': files,
        'skipped': skipped,
    }
    write_text(output / 'selection.json', json.dumps(selection, indent=1, ensure_ascii=False) + '\n')
    return (
        f'{output}: {len(files)} images (the paper: {test_set.count}), {len(skipped)} skipped, '
        f'sha256 {digest[:16]}; the list is in {output / "selection.json"}'
    )


def by_yaw(candidates: list[Candidate], making: Making) -> list[Candidate]:
    """Return the candidates, the most turned first; score: yaw."""
    try:
        yaws = public_downloads.celeba_yaws(making.root, making.landmarks)
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(
            f'{making.landmarks or making.root}: its landmarks are not in the published form ({error})'
        ) from error
    known = [dataclasses.replace(one, score=yaws[one.name]) for one in candidates if _is_number(yaws.get(one.name))]
    for one in candidates:
        if not _is_number(yaws.get(one.name)):
            making.skip(one, 'no landmarks', 'so that its yaw is not known')
    return sorted(known, key=lambda one: (-abs(one.score or 0), one.name))


def by_sharpness(candidates: list[Candidate], making: Making) -> list[Candidate]:
    """Return the candidates, the least sharp first; score: sharpness of the crop."""
    from tqdm import tqdm

    crops = tqdm(making.crops(candidates), 'measured', len(candidates), unit='face')
    scored = [dataclasses.replace(one, score=face.sharpness) for one, face in crops]
    return sorted(scored, key=lambda one: (one.score, one.name))


def at_random(candidates: list[Candidate], making: Making) -> list[Candidate]:
    """Return the candidates in an order that follows from the seed and their names; no score."""
    return sorted(candidates, key=lambda one: hashlib.sha256(f'{making.seed} {one.name}'.encode()).digest())


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


@dataclasses.dataclass(frozen=True)
class Order:
    """Which candidates are taken first: a function, and the same in words."""

    rank: Callable[[list[Candidate], Making], list[Candidate]]
    words: str


ORDERS = {
    'yaw': Order(
        by_yaw,
        'the most turned first; score: yaw, how far the nose tip is off the middle of the eyes along the eye line, in '
        'eye distances',
    ),
    'sharpness': Order(
        by_sharpness,
        'the least sharp first; score: sharpness, the variance of the Laplacian over the middle of the aligned face',
    ),
    'random': Order(at_random, 'in the order of the SHA-256 of the seed and the name'),
}
SETS = {
    'celeba': TestSet(
        2556,
        public_downloads.celeba,
        'yaw',
        "CelebA-HQ's images",
        'https://github.com/switchablenorms/CelebAMask-HQ',
        f"CelebA-HQ-img/*.jpg, {public_downloads.MAPPING_FILE}, and CelebA's {public_downloads.FIVE_POINT_FILES[0]}",
        aligned=True,
    ),
    'lfw': TestSet(
        1610,
        public_downloads.lfw,
        'sharpness',
        'every image, its largest face, aligned',
        'http://vis-www.cs.umass.edu/lfw/lfw.tgz',
        'NAME/NAME_0001.jpg',
    ),
    'fddb': TestSet(
        1629,
        public_downloads.fddb,
        'sharpness',
        'every photograph of the ten folds, its largest face, aligned',
        'http://vis-www.cs.umass.edu/fddb/',
        'originalPics/ and FDDB-folds/FDDB-fold-*-ellipseList.txt',
        detector='retinaface',
    ),
    'webface': TestSet(
        804,
        public_downloads.webface,
        'sharpness',
        'the first image of each identity, its largest face, aligned',
        'CASIA-WebFace (its authors, on request)',
        'IDENTITY/NUMBER.jpg',
    ),
    'wflw': TestSet(
        775,
        public_downloads.wflw,
        'random',
        'every image of both lists, its largest annotated face, aligned',
        'https://wywu.github.io/projects/LAB/WFLW.html',
        'WFLW_images/ and WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_*.txt',
    ),
}
