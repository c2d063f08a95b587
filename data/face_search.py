"""Searches a photograph of any size and direction with a network that knows upright faces of some 15 to 500 pixels.

1. The photograph and its halves, down to the size of a stamp, are searched in overlapping tiles: memory does not grow
   with it. Blur and noise vanish when it shrinks, so that a degraded face is often found at a smaller scale only.
2. Each find is looked at again, scaled to one size and turned by 0, 90, 180 and 270 degrees. The best answer says how
   the face lies: upright, CenterFace takes a face upside down for one with its eyes in its mouth, at scores up to 0.98.
3. Where no face is certain, or one lies on its side, the photograph itself is searched in the other directions too.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from tqdm import tqdm

from .alignment import compose, invert, resize_matrix, warp
from .detected_face import SAME_FACE, DetectedFace, overlap

MOST_PIXELS = 16_000_000
"""Of the largest scale that is searched whole: larger scans are reduced to it, where a face of 60 px on a page of 100
megapixels has 24. Finds are looked at again in the scan itself."""
LARGEST_SCALE = 0.7  # of the photograph; it takes half the time, and a face of 20 px still has 14
STAMP = 100  # pixels of the longer side that are not halved again
TILE, TILES_SHARE = 1280, 192  # pixels; a face of more is found whole at half the scale
FLOOR = 0.15  # least score that is looked at again
LOOK, CLOSE_LOOK = (40, 96), (56, 128)  # sides of the face and of the square around it, in pixels
LOOKS_AT_ONCE = 16  # finds; four pictures each
CLEAR = 0.15  # by so much the best direction has to lead
LEAST_SIDE = 12.0  # pixels; no smaller face is told from a patch of cloth
SLOW = 5.0  # seconds until a bar of progress appears

Network = Callable[[np.ndarray, float], list[list[DetectedFace]]]
"""From RGB uint8 (n, h, w, 3) and a threshold to each picture's faces."""

Look = list[DetectedFace | None]
"""What is seen at a place in each of the four directions."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Least scores.

    Attributes:
        certain: of an upright face: of the best answer.
        uncertain: of what is listed, but no face without being told.
        turned: as ``certain``, of a face on its side or its head: of the worst answer, since among all things in a
            photograph three times as many look a little like a face in one of three more directions.
        turned_uncertain: as ``uncertain``.
    """

    certain: float
    uncertain: float
    turned: float
    turned_uncertain: float


@dataclasses.dataclass(frozen=True, eq=False)
class Find:
    """A face on trial.

    Attributes:
        face: in the photograph's pixels.
        turns: by how many quarters, counter-clockwise, the photograph has to be turned to see it upright.
        confirmed: it was found in the photograph turned so; else only a second look says that it lies so.
    """

    face: DetectedFace
    turns: int
    confirmed: bool = True


class FaceSearch:
    """Finds faces of any size, in any direction, with a network for upright ones.

    Args:
        network: what answers for a batch of pictures.
        thresholds: what is a face.
    """

    def __init__(self, network: Network, thresholds: Thresholds) -> None:
        self.network = network
        self.thresholds = thresholds

    def __call__(self, image: np.ndarray) -> list[DetectedFace]:
        """Return the faces of RGB uint8 (h, w, 3), certain and uncertain, the largest first."""
        levels = scales_of(image)
        finds = self._look_again(image, self._search(levels, 0))
        for turns in self._other_directions(finds):
            turned = self._search(levels[1:] or levels, turns)
            finds = self._best_of(finds + self._look_again(image, turned))
        faces = [dataclasses.replace(find.face, certain=self._is_certain(find)) for find in finds]
        return sorted((face for face in faces if face.side >= LEAST_SIDE), key=lambda face: -face.side)

    def _is_certain(self, find: Find) -> bool:
        least = self.thresholds.turned if find.turns else self.thresholds.certain
        return (find.confirmed or not find.turns) and find.face.score >= least

    def _is_listed(self, find: Find) -> bool:
        return find.face.score >= (self.thresholds.turned_uncertain if find.turns else self.thresholds.uncertain)

    def _other_directions(self, finds: Sequence[Find]) -> list[int]:
        """Return the quarter turns by which the photograph is to be searched too."""
        if not any(map(self._is_certain, finds)):
            return [1, 2, 3]
        return sorted({find.turns for find in finds} - {0})

    def _search(self, levels: Sequence[tuple[np.ndarray, np.ndarray]], turns: int) -> list[Find]:
        """Return what the network sees in each scale of the photograph turned by so many quarters."""
        tiles = [(level, back, place) for level, back in levels for place in _tiles(*level.shape[:2])]
        bar = tqdm(tiles, 'searching for faces', unit='tile', leave=False, delay=SLOW, disable=None)
        finds = [find for level, back, place in bar for find in self._search_tile(level, back, place, turns)]
        return _distinct(sorted(finds, key=lambda find: -find.face.score))

    def _search_tile(
        self, level: np.ndarray, back: np.ndarray, place: tuple[slice, slice], turns: int
    ) -> Iterator[Find]:
        tile = level[place]
        corner = np.array([[1.0, 0, place[1].start], [0, 1.0, place[0].start]])
        to_photograph = compose(back, compose(corner, _turn_back(turns, *tile.shape[:2])))
        for face in self.network(np.ascontiguousarray(np.rot90(tile, turns))[None], FLOOR)[0]:
            yield Find(face.moved(to_photograph), turns)

    def _look_again(self, image: np.ndarray, finds: Sequence[Find]) -> list[Find]:
        """Return the finds with the direction and score that a second look gives them, and a third where in doubt."""
        first = self._looks(image, finds, LOOK)
        doubtful = [place for place, find in enumerate(finds) if self._in_doubt(find, first[place])]
        closer = self._looks(image, [finds[place] for place in doubtful], CLOSE_LOOK)
        looks: list[list[Look]] = [[look] for look in first]
        for place, look in zip(doubtful, closer, strict=True):
            looks[place].append(look)
        return self._best_of([_settle(find, seen) for find, seen in zip(finds, looks, strict=True)])

    def _in_doubt(self, find: Find, look: Look) -> bool:
        """Whether the find is no face for certain, or may lie in another direction."""
        scores = _scores(look)
        rival = max(score for turns, score in enumerate(scores) if turns != find.turns)
        return bool(find.turns or find.face.score < self.thresholds.certain or rival > scores[find.turns] - CLEAR)

    def _looks(self, image: np.ndarray, finds: Sequence[Find], size: tuple[int, int]) -> list[Look]:
        """Return for each find what is seen at its place in each direction, in the photograph's pixels."""
        seen: list[Look] = []
        for start in range(0, len(finds), LOOKS_AT_ONCE):
            matrices = [_to_square(find.face, *size) for find in finds[start : start + LOOKS_AT_ONCE]]
            squares = [warp(image, matrix, (size[1], size[1]), interpolation=cv2.INTER_LINEAR) for matrix in matrices]
            answers = iter(
                self.network(np.stack([np.rot90(one, turns) for one in squares for turns in range(4)]), FLOOR)
            )
            for matrix in matrices:
                backs = [compose(invert(matrix), _turn_back(turns, size[1], size[1])) for turns in range(4)]
                seen.append([_in_the_middle(next(answers), size, back) for back in backs])
        return seen

    def _best_of(self, finds: Sequence[Find]) -> list[Find]:
        """Keep the better of two finds of one face, and of these what is worth listing."""
        ordered = sorted(finds, key=lambda find: (self._is_certain(find), find.face.score), reverse=True)
        return _distinct([find for find in ordered if self._is_listed(find)])


def scales_of(image: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the photograph at each scale that is searched, the largest first, and the (2, 3) matrix back from it."""
    height, width = image.shape[:2]
    levels: list[tuple[np.ndarray, np.ndarray]] = []
    for size in _sizes(height, width):
        larger = levels[-1][0] if levels else image
        level = cv2.resize(larger, size, interpolation=cv2.INTER_AREA)
        levels.append((level, resize_matrix(width / size[0], height / size[1])))
    return levels


def describe_search(width: int, height: int) -> str:
    """Return how a photograph is searched, in words."""
    sizes = _sizes(height, width)
    (largest, smallest) = (f'{w} x {h}' for w, h in (sizes[0], sizes[-1]))
    return f'searched at {len(sizes)} scales from {largest} to {smallest}, also turned by 90, 180 and 270 degrees'


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Return (width, height) of each scale that is searched, the largest first."""
    scale = min(LARGEST_SCALE, (MOST_PIXELS / (height * width)) ** 0.5)
    halvings = range(max(1, 1 + int(np.log2(max(1.0, max(width, height) * scale / STAMP)))))
    return [(max(1, round(width * scale / 2**n)), max(1, round(height * scale / 2**n))) for n in halvings]


def _tiles(height: int, width: int) -> list[tuple[slice, slice]]:
    """Return overlapping tiles of about one size that cover height x width."""
    return [(rows, columns) for rows in _pieces(height) for columns in _pieces(width)]


def _pieces(length: int) -> list[slice]:
    count = max(1, -(-(length - TILES_SHARE) // (TILE - TILES_SHARE)))
    side = -(-(length + (count - 1) * TILES_SHARE) // count)
    starts = np.linspace(0, length - side, count).round().astype(int) if count > 1 else [0]
    return [slice(int(start), int(start) + side) for start in starts]


def _turn_back(turns: int, height: int, width: int) -> np.ndarray:
    """Return the (2, 3) matrix from ``np.rot90(picture, turns)`` to the picture of height x width."""
    right, bottom = width - 1.0, height - 1.0
    matrices = (
        [[1, 0, 0], [0, 1, 0]],
        [[0, -1, right], [1, 0, 0]],
        [[-1, 0, right], [0, -1, bottom]],
        [[0, 1, 0], [-1, 0, bottom]],
    )
    return np.array(matrices[turns], float)


def _to_square(face: DetectedFace, side: int, square: int) -> np.ndarray:
    """Return the (2, 3) matrix that brings a face to ``side`` pixels in the middle of a square."""
    scale = side / face.side
    middle = (face.box[:2] + face.box[2:]) / 2
    return np.column_stack([np.eye(2) * scale, (square - 1) / 2 - middle * scale])


def _in_the_middle(faces: Sequence[DetectedFace], look: tuple[int, int], back: np.ndarray) -> DetectedFace | None:
    """Return the best face of about the size and place that the square was cut for, moved by ``back``."""
    side, square = look
    near = [
        face
        for face in faces
        if np.abs((face.box[:2] + face.box[2:]) - (square - 1)).max() < 0.8 * side and side / 2 < face.side < side * 2
    ]
    best = max(near, key=lambda face: face.score, default=None)
    return None if best is None else best.moved(back)


def _settle(find: Find, looks: Sequence[Look]) -> Find:
    """Return the find in the direction in which it was seen best, with the best score if upright, else the least."""
    totals = np.sum([_scores(look) for look in looks], axis=0)
    turns = int(np.argmax(totals)) if totals.max() > totals[find.turns] + CLEAR else find.turns
    answers = [face for look in looks if (face := look[turns]) is not None]
    scores = [_scores(look)[turns] for look in looks]
    if turns == find.turns:
        scores.append(find.face.score)
        answers.append(find.face)
    score = min(scores) if turns else max(scores)
    return Find(dataclasses.replace(answers[-1], score=score), turns, find.confirmed and turns == find.turns)


def _scores(look: Look) -> list[float]:
    return [0.0 if face is None else face.score for face in look]


def _distinct(finds: Sequence[Find]) -> list[Find]:
    """Keep the first of two finds of one face."""
    kept: list[Find] = []
    for find in finds:
        if all(overlap(find.face.box, other.face.box) < SAME_FACE for other in kept):
            kept.append(find)
    return kept
