"""The facial components of MMRBGAN's local discriminators (section 3.3): one table, and the boxes of every face.

'Left' and 'right' are the image's sides, everywhere in this project: ``left_eye`` is on the left of the picture.

Coordinates: landmarks count from the middle of the top left pixel, as detectors and annotations do. Boxes are edges:
pixel ``i`` covers ``[i, i + 1)``, so that scaling is a product and the flip is ``width - x`` (RoI-align:
``aligned=True``).
"""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from mmrbgan_arch.support.atomic_files import write_text
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.json_text import parse_json

COMPONENTS_FILE, LANDMARKS_FILE = 'components.json', 'landmarks.csv'
REFERENCE_SIZE = 512  # pixels; the paper's faces, FFHQ's template
YAW_EDGES = (0.0, 0.1, 0.25, 0.5, float('inf'))  # of ``yaw_of``: frontal, slightly turned, turned, profile
MIN_HALF_WIDTH = 16 / REFERENCE_SIZE  # of the image; a closed eye seen from the side still needs a crop


@dataclasses.dataclass(frozen=True)
class Component:
    """A facial part with a discriminator of its own.

    Attributes:
        name: key in files, options, logs and weights.
        landmarks: its points among the 68 of iBUG.
        crop_size_at_512: side in pixels of the square the discriminator sees when the image is 512 px.
        enlarge: factor on the box around the points.
        five_points: where only eye centres, nose tip and mouth corners are known, those whose mean is its centre; none:
            the component is absent on such faces.
        five_half: its half-width then, at least, in parts of ``face_scale``.
        colour: of its box in contact sheets, RGB.
    """

    name: str
    landmarks: slice
    crop_size_at_512: int
    enlarge: float
    five_points: tuple[int, ...] = ()
    five_half: float = 0.2
    colour: tuple[int, int, int] = (255, 220, 60)


COMPONENTS = (
    Component('left_eye', slice(36, 42), 80, 1.4, (0,), 0.2, (255, 60, 60)),
    Component('right_eye', slice(42, 48), 80, 1.4, (1,), 0.2, (60, 220, 60)),
    Component('mouth', slice(48, 68), 120, 1.0, (3, 4), 0.3, (70, 130, 255)),
)
NAMES = tuple(component.name for component in COMPONENTS)
# Row i of a mirrored image is row MIRROR[i] of the original: left and right trade places.
_OTHER_SIDE = {'left': 'right', 'right': 'left'}
MIRROR = tuple(NAMES.index('_'.join(_OTHER_SIDE.get(word, word) for word in name.split('_'))) for name in NAMES)


def crop_size(component: Component, image_size: int) -> int:
    """Side in pixels of the component's crop for images of ``image_size`` pixels."""
    return round(component.crop_size_at_512 * image_size / REFERENCE_SIZE)


def to_68(points: np.ndarray) -> np.ndarray:
    """Return (n, 2) landmarks in the order of iBUG-68, (68, 2), NaN where the source has none.

    49 points are iBUG 17-59 followed by 61, 62, 63, 65, 66, 67: no jaw and no inner mouth corners.

    Raises:
        ValueError: another number of points.
    """
    if len(points) == 68:
        return points
    if len(points) != 49:
        raise ValueError(f'{len(points)} landmarks; 68 or 49 are understood')
    full = np.full((68, 2), np.nan, points.dtype)
    full[[*range(17, 60), 61, 62, 63, 65, 66, 67]] = points
    return full


def circles_from_landmarks(points: np.ndarray, image_size: float) -> np.ndarray:
    """Return each component's centre and half-width (k, 3) in pixels, as edges, from (68, 49 or 5, 2) landmarks."""
    if len(points) == 5:
        return np.array([_circle_from_five(component, points) for component in COMPONENTS], np.float32)
    points = to_68(points)
    circles = np.empty((len(COMPONENTS), 3), np.float32)
    for row, component in zip(circles, COMPONENTS, strict=True):
        low, high = np.nanmin(points[component.landmarks], 0), np.nanmax(points[component.landmarks], 0)
        row[:2] = (low + high) / 2 + 0.5
        row[2] = max((high - low).max() / 2, MIN_HALF_WIDTH * image_size)
    return circles


def face_scale(five: np.ndarray) -> float:
    """Return the eyes' distance as if seen from the front: a turned face keeps its height."""
    upright = np.linalg.norm(five[:2].mean(0) - five[3:].mean(0))
    return float(max(np.linalg.norm(five[1] - five[0]), upright))


def _circle_from_five(component: Component, five: np.ndarray) -> tuple[float, float, float]:
    """Centre and half-width, NaN where five points do not tell."""
    if not component.five_points:
        return math.nan, math.nan, math.nan
    own = five[list(component.five_points)]
    x, y = own.mean(0) + 0.5
    extent = float(np.linalg.norm(own[-1] - own[0]))
    return float(x), float(y), max(extent / 2, component.five_half * face_scale(five))


def boxes_from_circles(circles: np.ndarray, width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Return enlarged boxes (k, 4) x1 y1 x2 y2 and a bool mask (k,) of those present, from centres and half-widths.

    A box that leaves the image is moved inside, so that it stays square; a NaN row becomes zeros.

    Args:
        circles: (k, 3) centre x, y and half-width in pixels; never written to.
        width: of the image, in pixels.
        height: of the image, in pixels.
    """
    mask = np.isfinite(circles).all(1)
    enlarge = np.array([component.enlarge for component in COMPONENTS], np.float32)
    half = np.minimum(circles[:, 2] * enlarge, min(width, height) / 2)[:, None]
    limits = np.array([[width, height]], np.float32)
    centre = np.clip(circles[:, :2], half, limits - half)
    boxes = np.concatenate([centre - half, centre + half], 1).astype(np.float32)
    return np.where(mask[:, None], boxes, np.float32(0)), mask


def flip_boxes(boxes: np.ndarray, mask: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (k, 4) and mask (k,) of the mirrored image, as new arrays; twice gives the first again."""
    flipped = boxes[list(MIRROR)]
    flipped[:, [0, 2]] = width - flipped[:, [2, 0]]
    mask = mask[list(MIRROR)]
    return np.where(mask[:, None], flipped, np.float32(0)), mask


class ComponentTable:
    """Centres and half-widths of every file's components, looked up by file name.

    Args:
        circles: name -> (k, 3) array in pixels, NaN where a component is absent.
        path: where they came from, for error lines.
        size: width of the images whose pixels are meant; None: each file's own.
    """

    def __init__(self, circles: Mapping[str, np.ndarray], path: Path, size: float | None = None) -> None:
        self.path, self.size = path, size
        self._row = {name: row for row, name in enumerate(circles)}
        shape = (len(circles), len(COMPONENTS), 3)
        # One array for all: 70,000 small ones would cost ten times the memory.
        self._circles = np.array(list(circles.values()), np.float32).reshape(shape)
        self._circles.flags.writeable = False

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, name: str) -> bool:
        return name in self._row

    def boxes(self, name: str, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes (k, 4) and mask (k,) of the file ``name``, ``width`` pixels wide; none known: zeros and False.

        Raises:
            UsageError: a component lies outside the image.
        """
        if name not in self._row:
            return np.zeros((len(COMPONENTS), 4), np.float32), np.zeros(len(COMPONENTS), bool)
        circles = self._circles[self._row[name]] * np.float32(width / (self.size or width))
        outside = (circles[:, :2] < 0) | (circles[:, :2] > (width, height))
        if outside.any():
            component = NAMES[int(outside.any(1).argmax())]
            raise UsageError(
                f'{self.path}: the {component} of {name!r} lies outside its {width}x{height} image; '
                'make the file again with `mmrbgan prepare`, or remove its line to train this face without components'
            )
        return boxes_from_circles(circles, width, height)


def find_component_file(folder: Path) -> Path | None:
    """Return the components.json or landmarks.csv lying in ``folder``, if any."""
    return next((folder / name for name in (COMPONENTS_FILE, LANDMARKS_FILE) if (folder / name).is_file()), None)


def read_components(path: Path, image_size: float | None = None) -> ComponentTable:
    """Read a components.json or a landmarks.csv.

    Args:
        path: the file.
        image_size: side in pixels of the images a landmarks.csv belongs to (a components.json names its own);
            the least half-width of a box depends on it. Default: ``REFERENCE_SIZE``.

    Raises:
        UsageError: the file is missing or not in one of the two forms.
    """
    if not path.is_file():
        raise UsageError(f'component_path: no file {str(path)!r}; `mmrbgan prepare` makes one')
    try:
        if path.suffix == '.json':
            return _read_json(path)
        return ComponentTable(_read_csv(path, image_size or REFERENCE_SIZE), path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f'{path}: not a components.json or landmarks.csv ({detail}); see docs/data.md') from error


def read_landmarks(path: Path) -> dict[str, np.ndarray]:
    """Return name -> (n, 2) float32 landmarks, n 68 or 49, from ``file, num_points, yaw, x0, y0, x1, y1, ...``.

    Raises:
        ValueError: a line that is not in this form, named by number.
    """
    return dict(read_landmark_rows(path))


def read_landmark_rows(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and landmarks (68 or 49, 2) of every line; a photograph with several faces has several.

    Raises:
        ValueError: a line that is not in the form, named by number.
    """
    with path.open(newline='', encoding='utf-8-sig') as file:  # Excel begins its files with a mark
        for number, row in enumerate(_rows(file), 1):
            if number == 1 and row[:2] == ['file', 'num_points']:
                continue
            try:
                with np.errstate(over='ignore'):  # to infinity, which whoever uses them refuses
                    points = np.array(row[3 : 3 + 2 * int(row[1])], np.float32).reshape(int(row[1]), 2)
                to_68(points)
            except (ValueError, IndexError, OverflowError, MemoryError) as error:
                raise ValueError(f'line {number}: {error}') from error
            yield row[0], points


def _rows(file: TextIO) -> Iterator[list[str]]:
    try:
        yield from csv.reader(file)
    except csv.Error as error:  # which is no ValueError
        raise ValueError(str(error)) from error


def read_yaws(path: Path) -> dict[str, float]:
    """Return name -> ``yaw_of`` the face, from a landmarks.csv.

    Raises:
        UsageError: the file is missing or not one.
    """
    try:
        return {name: yaw_of(points) for name, points in read_landmarks(path).items()}
    except (OSError, ValueError) as error:
        raise UsageError(f'{path}: not a landmarks.csv ({error}); `mmrbgan prepare` makes one') from error


def write_landmarks(path: Path, landmarks: Mapping[str, np.ndarray]) -> None:
    """Write name -> (68, 2) landmarks in the form that ``read_landmarks`` reads."""
    table = io.StringIO(newline='')
    writer = csv.writer(table)
    writer.writerow(['file', 'num_points', 'yaw', 'x0', 'y0', '...'])
    for name, points in landmarks.items():
        values = [f'{value:.2f}' for value in points.reshape(-1)]
        writer.writerow([name, len(points), f'{yaw_of(points):.3f}', *values])
    write_text(path, table.getvalue())


def write_components(path: Path, circles: Mapping[str, np.ndarray], image_size: int) -> None:
    """Write name -> (k, 3) centres and half-widths in pixels of ``image_size`` as components.json."""
    files = {
        name: {part: _row_to_json(row) for part, row in zip(NAMES, rows, strict=True)} for name, rows in circles.items()
    }
    text = ',\n'.join(f'{json.dumps(name, ensure_ascii=False)}: {json.dumps(entry)}' for name, entry in files.items())
    write_text(path, f'{{"size": {image_size}, "files": {{\n{text}\n}}}}\n')


def yaw_of(points: np.ndarray) -> float:
    """Return how far a face (68, 49 or 5, 2) is turned; 0 is frontal, beyond +-0.25 is clearly turned.

    It is the nose tip's offset from the middle of the eyes, along the eye line, in eye distances.
    """
    if len(points) == 5:
        left, right, nose = points[:3]
    else:
        points = to_68(points)
        left, right, nose = points[36:42].mean(0), points[42:48].mean(0), points[30]
    axis = right - left
    return float((nose - (left + right) / 2) @ axis / max(float(axis @ axis), 1e-6))


def _row_to_json(row: np.ndarray) -> list[float] | None:
    return [round(float(value), 2) for value in row] if np.isfinite(row).all() else None


def _read_json(path: Path) -> ComponentTable:
    nothing = np.full(3, np.nan, np.float32)
    content = parse_json(path.read_bytes())
    size, files = content.get('size'), content['files']
    is_number = isinstance(size, int | float) and not isinstance(size, bool)
    if size is not None and not (is_number and 0 < size < math.inf):
        raise ValueError(f'size: {json.dumps(size)} is not a positive number of pixels')
    circles = {name: _stack([entry.get(part) for part in NAMES], nothing) for name, entry in files.items()}
    return ComponentTable(circles, path, size)


def _stack(rows: Sequence[Sequence[float] | None], nothing: np.ndarray) -> np.ndarray:
    circles = np.array([nothing if row is None else row for row in rows], np.float32)
    if circles.shape != (len(NAMES), 3):
        raise ValueError('each component is [x, y, half_width] or null')
    return circles


def _read_csv(path: Path, image_size: float) -> dict[str, np.ndarray]:
    return {name: circles_from_landmarks(points, image_size) for name, points in read_landmarks(path).items()}
