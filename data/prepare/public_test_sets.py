"""The paper's test sets (section 4.1) from their public downloads, each in the layout its publisher ships.

The paper names counts but not files, so ours are chosen by a rule and written down: ``selection.json`` lists every file
with the source it came from and its SHA-256, and one hash over all. Two people with the same list have the same set.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mmrbgan_arch.support.atomic_files import write_bytes, write_text
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.json_text import parse_json

from ..alignment import TEMPLATE_512
from ..components import LANDMARKS_FILE, write_landmarks
from ..images import list_images
from .cropping import Crop, CropSettings, Skip, crop_photograph

# The ellipse of a FDDB face (crown to chin) in an aligned face of 512 px: centre and half of its height.
ELLIPSE_CENTRE, ELLIPSE_HALF_HEIGHT = np.array([256.0, 268.0]), 200.0
WFLW_TO_68 = (
    *range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60), 60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75,
    *range(76, 96),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A face that may belong to a set.

    Attributes:
        name: of the file to write, without its suffix.
        path: of the photograph.
        landmarks: known ones (68 or 5, 2); None: find the largest face.
    """

    name: str
    path: Path
    landmarks: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class TestSet:
    """One of the paper's sets.

    Attributes:
        count: of images in the paper.
        rule: how ours are chosen.
        source: where to get it.
        layout: what the unpacked download holds.
        candidates: reads a download.
        aligned: its images are good, aligned faces; the others are real low quality.
    """

    __test__ = False  # no test for pytest, in spite of its name

    count: int
    rule: str
    source: str
    layout: str
    candidates: Callable[[Path], Iterator[Candidate]]
    aligned: bool = False


def make_test_set(name: str, root: Path, output: Path, settings: CropSettings) -> str:
    """Write the set ``name`` from the download in ``root`` into ``output``; return a line that says so.

    The images go to ``output/gt`` where the set is good faces to be degraded, to ``output/lq`` where they are bad ones.

    Raises:
        UsageError: the download is missing or in another layout, or the folder holds something else.
    """
    from tqdm import tqdm

    test_set = SETS[name]
    chosen = choose(_candidates(name, test_set, root))
    folder = output / ('gt' if test_set.aligned else 'lq')
    folder.mkdir(parents=True, exist_ok=True)
    earlier = _of_an_earlier_run(output, folder, {f'{candidate.name}.png' for candidate in chosen})
    settings = dataclasses.replace(settings, min_face=0, min_sharpness=0, aligned=test_set.aligned)
    files: list[dict[str, str]] = []
    skipped: list[dict[str, str]] = []
    landmarks: dict[str, np.ndarray] = {}
    with tqdm(total=min(test_set.count, len(chosen)), desc=name, unit='face') as bar:
        for candidate in chosen:
            if len(files) == test_set.count:
                break
            face = _face(candidate, settings)
            if isinstance(face, Skip):
                skipped.append(
                    {'source': _relative(candidate.path, root), 'reason': face.reason, 'detail': face.detail}
                )
                continue
            path = folder / f'{candidate.name}.png'
            write_bytes(path, face.content)
            if len(face.landmarks) > 5:
                landmarks[path.name] = face.landmarks
            files.append(_record(candidate, root))
            bar.update()
    if landmarks:  # from which `mmrbgan evaluate --by-pose` takes the pose
        write_landmarks(folder / LANDMARKS_FILE, landmarks)
    line = _finish(name, test_set, output, files, skipped)
    for file in earlier - {item['file'] for item in files}:
        (folder / file).unlink()
    return line


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


def choose(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates in the order they are taken: at random, by a hash of their names."""
    return sorted(candidates, key=lambda item: hashlib.sha256(item.name.encode()).digest())


def _candidates(name: str, test_set: TestSet, root: Path) -> list[Candidate]:
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
    return found


def _face(candidate: Candidate, settings: CropSettings) -> Crop | Skip:
    known = None if candidate.landmarks is None else [candidate.landmarks]
    if settings.aligned:
        known = [TEMPLATE_512]
    return crop_photograph(candidate.path, settings, known)[0]


def _record(candidate: Candidate, root: Path) -> dict[str, str]:
    source = hashlib.sha256(candidate.path.read_bytes()).hexdigest()
    return {'file': f'{candidate.name}.png', 'source': _relative(candidate.path, root), 'source_sha256': source}


def _finish(
    name: str, test_set: TestSet, output: Path, files: list[dict[str, str]], skipped: list[dict[str, str]]
) -> str:
    if not files:
        raise UsageError(f'{name}: none of {len(skipped)} images could be used; first: {skipped[0]["detail"]}')
    files.sort(key=lambda item: item['file'])
    joined = '\n'.join(f'{item["file"]} {item["source_sha256"]}' for item in files)
    digest = hashlib.sha256(joined.encode()).hexdigest()
    selection = {
        'set': name,
        'count': len(files),
        'count_in_paper': test_set.count,
        'rule': test_set.rule,
        'sha256': digest,
        'files': files,
        'skipped': skipped,
    }
    write_text(output / 'selection.json', json.dumps(selection, indent=1, ensure_ascii=False) + '\n')
    return (
        f'{output}: {len(files)} images (the paper: {test_set.count}), {len(skipped)} skipped, '
        f'sha256 {digest[:16]}; the list is in {output / "selection.json"}'
    )


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _celeba(root: Path) -> Iterator[Candidate]:
    """CelebA-HQ as in CelebAMask-HQ; CelebA's test partition where its two lists are there."""
    folder = next(
        (path for path in (root / 'CelebA-HQ-img', root / 'CelebAMask-HQ' / 'CelebA-HQ-img') if path.is_dir()), root
    )
    partition = _celeba_partition(root)
    for name in list_images(folder):
        stem = Path(name).stem
        if stem.isdigit() and (not partition or stem in partition):
            yield Candidate(f'{int(stem):05d}', folder / name)


def _celeba_partition(root: Path) -> set[str]:
    """Return the numbers of CelebA-HQ's images that CelebA's partition puts into its test set."""
    mapping, partition = _find(root, 'CelebA-HQ-to-CelebA-mapping.txt'), _find(root, 'list_eval_partition.txt')
    if mapping is None or partition is None:
        return set()
    test = {line.split()[0] for line in partition.read_text().splitlines() if line.split()[1:] == ['2']}
    rows = (line.split() for line in mapping.read_text().splitlines()[1:])
    return {row[0] for row in rows if row and row[-1] in test}


def _identities(root: Path) -> Iterator[Candidate]:
    """First image of each identity; LFW's ``peopleDevTest.txt`` limits the identities where it is there."""
    people = _find(root, 'peopleDevTest.txt')
    wanted = {line.split()[0] for line in people.read_text().splitlines()[1:] if line.split()} if people else None
    seen = set()
    for name in list_images(root):
        path = root / name
        identity = path.parent.name
        if path.parent != root and identity not in seen and (wanted is None or identity in wanted):
            seen.add(identity)
            yield Candidate(identity, path)


def _fddb(root: Path) -> Iterator[Candidate]:
    """Every ellipse of the ten folds: ``path``, number of faces, and per face ``major minor angle x y 1``."""
    for fold in sorted(root.rglob('FDDB-fold-*-ellipseList.txt')):
        lines = iter(fold.read_text().splitlines())
        for line in lines:
            path = _fddb_image(root, line.strip())
            for number in range(int(next(lines))):
                values = [float(value) for value in next(lines).split()]
                yield Candidate(f'{line.strip().replace("/", "_")}_{number}', path, ellipse_landmarks(*values[:5]))


def _fddb_image(root: Path, name: str) -> Path:
    places = (root / 'originalPics' / f'{name}.jpg', root / f'{name}.jpg')
    return next((place for place in places if place.is_file()), places[0])


def ellipse_landmarks(major: float, minor: float, angle: float, x: float, y: float) -> np.ndarray:
    """Return the five points (5, 2) that an upright face in this ellipse would have.

    Args:
        major: half of its length, in pixels.
        minor: half of its width.
        angle: of its length against the image's x axis, in radians.
        x: of its middle.
        y: of its middle.
    """
    tilt = angle - math.pi / 2 if angle > 0 else angle + math.pi / 2
    turn = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
    return (TEMPLATE_512 - ELLIPSE_CENTRE) * (major / ELLIPSE_HALF_HEIGHT) @ turn.T + (x, y)


def _wflw(root: Path) -> Iterator[Candidate]:
    """The test list: 98 points, a rectangle, six attributes, the image."""
    lists = sorted(root.rglob('list_98pt_rect_attr_test.txt'))
    images = root / 'WFLW_images' if (root / 'WFLW_images').is_dir() else root
    for number, line in enumerate(lists[0].read_text().splitlines() if lists else ()):
        values = line.split()
        points = np.array(values[:196], float).reshape(98, 2)[list(WFLW_TO_68)]
        name = values[206]
        yield Candidate(f'{Path(name).stem}_{number:04d}', images / name, points)


def _find(root: Path, name: str) -> Path | None:
    return next(iter(sorted(root.rglob(name))), None)


BY_HASH = 'taken in the order of the SHA-256 of their names'
SETS = {
    'celeba': TestSet(
        2556,
        f"CelebA-HQ's images, of CelebA's test partition where its lists are there, {BY_HASH}",
        'https://github.com/switchablenorms/CelebAMask-HQ',
        'CelebA-HQ-img/*.jpg (and list_eval_partition.txt, CelebA-HQ-to-CelebA-mapping.txt)',
        _celeba,
        aligned=True,
    ),
    'lfw': TestSet(
        1610,
        f'the first image of each identity (of peopleDevTest.txt where it is there), {BY_HASH}',
        'http://vis-www.cs.umass.edu/lfw/lfw.tgz',
        'NAME/NAME_0001.jpg',
        _identities,
    ),
    'fddb': TestSet(
        1629,
        f"crops by FDDB's ellipses, {BY_HASH}",
        'http://vis-www.cs.umass.edu/fddb/',
        'originalPics/ and FDDB-folds/FDDB-fold-*-ellipseList.txt',
        _fddb,
    ),
    'webface': TestSet(
        804,
        f'the first image of each identity, {BY_HASH}',
        'CASIA-WebFace (its authors, on request)',
        'IDENTITY/NUMBER.jpg',
        _identities,
    ),
    'wflw': TestSet(
        775,
        f'faces of the test list at random, {BY_HASH}',
        'https://wywu.github.io/projects/LAB/WFLW.html',
        'WFLW_images/ and WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_test.txt',
        _wflw,
    ),
}
