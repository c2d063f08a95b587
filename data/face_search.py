"""Searches a photograph of any size and direction with a network that knows upright faces of some 15 to 500 pixels.

1. The photograph and its halves, down to the size of a stamp, are searched in overlapping tiles: memory does not grow
   with it. Blur and noise vanish when it shrinks, so that a degraded face is often found at a smaller scale only.
2. A find that is clear, and upright by its points, gets a glance upside down: CenterFace takes a face on its head for
   one with its eyes in its mouth, at scores up to 0.98. Any other is looked at again in the photograph, scaled to one
   size: in four directions, then turned upright by the points of the best answer, plain and mirrored. Faces have a
   mean score above 0.75 there in any direction, and what only looked like one vanishes.
3. Where no face is beyond doubt, or one lies on its side, the photograph itself is searched turned by quarters too, and
   tilted by 45 degrees if that shows none.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from tqdm import tqdm

from .alignment import compose, invert, resize_matrix, warp
from .detected_face import DetectedFace, roll_of, without_doubles

MOST_PIXELS = 8_000_000
"""Of the largest scale that is searched whole: larger scans are reduced to it, where a face of 60 px on a page of 100
megapixels has 17. Finds are looked at again in the scan itself."""
LARGEST_SCALE = 0.5  # of the photograph; it takes a quarter of the time, and a face of 20 px still has 10
STAMP = 100  # pixels of the longer side that are not halved again
TILE, TILES_SHARE = 1280, 96  # pixels; a face of more is found whole at half the scale
FLOOR = 0.15  # least score that is looked at again
GLANCE, LOOK = (28, 64), (56, 96)  # sides of the face and of the square around it, in pixels
LOOKS_AT_ONCE = 16  # finds
CLEAR = 0.7  # least score of a find for which a glance is enough
RIVAL = 0.5  # least score upside down that asks for a closer look
UPRIGHT, TILTED = 25.0, 35.0  # degrees: a find is upright to that, and a face is called turned beyond this
TILTS = (-45.0, 45.0)  # degrees, of the last searches for a photograph without a certain face
OTHERWISE, AS_GOOD = 60.0, 0.25  # least angle between two directions that are both tried, most distance of their scores
LEAST_SIDE, LEAST_TURNED = 12.0, 48.0
"""Pixels: no smaller face is told from a patch of cloth, and none on its side from a picture on the cover of a book."""
SLOW = 5.0  # seconds until a bar of progress appears

Network = Callable[[np.ndarray, float], list[list[DetectedFace]]]
"""From RGB uint8 (n, h, w, 3) and a threshold to each picture's faces."""

Level = tuple[np.ndarray, np.ndarray]
"""The photograph at a scale, and the (2, 3) matrix from there back to it."""

Look = list[DetectedFace | None]
"""What is seen at a place in each direction."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Least scores.

    Attributes:
        certain: of an upright face.
        uncertain: of what is listed, but no face without being told.
        turned: as ``certain``, of a face that is tilted, on its side or its head: among all things in a photograph more
            look a little like a face in one of many directions.
        turned_uncertain: as ``uncertain``.
    """

    certain: float
    uncertain: float
    turned: float
    turned_uncertain: float


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
        faces = self._judge(image, self._search(levels, 0))
        smaller = levels[1:] or levels
        for turns in self._other_directions(faces):
            faces = self._search_too(image, faces, smaller, turns)
        for angle in TILTS if not any(map(self._is_settled, faces)) else ():
            faces = self._search_too(image, faces, [_tilt(*level, angle) for level in smaller], 0)
        faces = [dataclasses.replace(face, certain=self._is_certain(face)) for face in faces]
        return sorted(faces, key=lambda face: -face.side)

    def _search_too(
        self, image: np.ndarray, faces: list[DetectedFace], levels: Sequence[Level], turns: int
    ) -> list[DetectedFace]:
        """Return the faces, with what else is found in these levels turned by so many quarters."""
        settled = [face for face in faces if self._is_settled(face)]
        found = without_doubles([*settled, *self._search(levels, turns)])
        return self._best_of(faces + self._turn_upright(image, [(face, face) for face in found[len(settled) :]]))

    def _is_certain(self, face: DetectedFace) -> bool:
        if _is_turned(face):
            return face.score >= self.thresholds.turned and face.side >= LEAST_TURNED
        return face.score >= self.thresholds.certain

    def _is_settled(self, face: DetectedFace) -> bool:
        """Whether the face is too sure for a better find of it in another direction."""
        return self._is_certain(face) and face.score >= self.thresholds.turned

    def _is_listed(self, face: DetectedFace) -> bool:
        least = self.thresholds.turned_uncertain if _is_turned(face) else self.thresholds.uncertain
        return face.score >= least and face.side >= LEAST_SIDE

    def _other_directions(self, faces: Sequence[DetectedFace]) -> list[int]:
        """Return the quarter turns by which the photograph is to be searched too."""
        settled = [face for face in faces if self._is_settled(face)]
        if not settled:
            return [1, 2, 3]
        return sorted({round(roll_of(face.landmarks) / 90) % 4 for face in settled} - {0})

    def _search(self, levels: Sequence[Level], turns: int) -> list[DetectedFace]:
        """Return what the network sees in each scale of the photograph turned by so many quarters."""
        tiles = [(level, back, place) for level, back in levels for place in _tiles(*level.shape[:2])]
        bar = tqdm(tiles, 'searching for faces', unit='tile', leave=False, delay=SLOW, disable=None)
        finds = [face for level, back, place in bar for face in self._search_tile(level, back, place, turns)]
        return without_doubles(sorted(finds, key=lambda face: -face.score))

    def _search_tile(
        self, level: np.ndarray, back: np.ndarray, place: tuple[slice, slice], turns: int
    ) -> Iterator[DetectedFace]:
        tile = level[place]
        corner = np.array([[1.0, 0, place[1].start], [0, 1.0, place[0].start]])
        to_photograph = compose(back, compose(corner, _turn_back(turns, *tile.shape[:2])))
        for face in self.network(np.ascontiguousarray(np.rot90(tile, turns))[None], FLOOR)[0]:
            yield face.moved(to_photograph)

    def _judge(self, image: np.ndarray, finds: Sequence[DetectedFace]) -> list[DetectedFace]:
        """Return the faces among what an upright search found; weak finds count where none is certain."""
        weak = [face for face in finds if face.score < self.thresholds.uncertain]
        upright = [face for face in finds if face not in weak and _roll(face) <= UPRIGHT]
        glances = self._looks(image, upright, GLANCE, (2,))
        upright = [face for face, (head,) in zip(upright, glances, strict=True) if head is None or head.score < RIVAL]
        clear = [face for face in upright if face.score >= CLEAR]
        doubtful = [(face, face) for face in upright if face not in clear]
        doubtful += self._directions(image, [face for face in finds if face not in weak and face not in upright])
        faces = self._best_of(clear + self._turn_upright(image, doubtful))
        if any(map(self._is_certain, faces)):
            return faces
        return self._best_of(faces + self._turn_upright(image, self._directions(image, weak)))

    def _directions(self, image: np.ndarray, finds: Sequence[DetectedFace]) -> list[tuple[DetectedFace, DetectedFace]]:
        """Look at each find in four directions; return it with each answer that may be the right one."""
        looks = self._looks(image, finds, LOOK, range(4))
        return [(find, answer) for find, look in zip(finds, looks, strict=True) for answer in _best_answers(look)]

    def _turn_upright(
        self, image: np.ndarray, starts: Sequence[tuple[DetectedFace, DetectedFace]]
    ) -> list[DetectedFace]:
        """Return what is seen of finds turned upright by the points of an answer, and by its own points mirrored."""
        plain = self._looks(image, [start for _, start in starts], LOOK, (0,), upright=True)
        seen = [(find, face) for (find, _), (face,) in zip(starts, plain, strict=True) if face is not None]
        mirrored = self._looks(image, [face for _, face in seen], LOOK, (0,), upright=True, mirror=True)
        return [_agreed(*pair, other) for pair, (other,) in zip(seen, mirrored, strict=True)]

    def _looks(
        self,
        image: np.ndarray,
        faces: Sequence[DetectedFace],
        size: tuple[int, int],
        directions: Sequence[int],
        upright: bool = False,
        mirror: bool = False,
    ) -> list[Look]:
        """Return for each face what is seen at its place in each direction, in the photograph's pixels."""
        seen: list[Look] = []
        for start in range(0, len(faces), LOOKS_AT_ONCE):
            matrices = [_to_square(face, *size, upright, mirror) for face in faces[start : start + LOOKS_AT_ONCE]]
            squares = [warp(image, matrix, (size[1], size[1]), interpolation=cv2.INTER_LINEAR) for matrix in matrices]
            pictures = np.stack([np.rot90(square, turns) for square in squares for turns in directions])
            answers = iter(self.network(pictures, FLOOR))
            for matrix in matrices:
                backs = [compose(invert(matrix), _turn_back(turns, size[1], size[1])) for turns in directions]
                seen.append([_in_the_middle(next(answers), size, back, mirror) for back in backs])
        return seen

    def _best_of(self, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        """Keep the better of two finds of one face, and of these what is worth listing."""
        ordered = sorted(faces, key=lambda face: (self._is_certain(face), face.score), reverse=True)
        return without_doubles([face for face in ordered if self._is_listed(face)])


def scales_of(image: np.ndarray) -> list[Level]:
    """Return the photograph at each scale that is searched, the largest first, and the (2, 3) matrix back from it."""
    height, width = image.shape[:2]
    levels: list[Level] = []
    for size in _sizes(height, width):
        larger = levels[-1][0] if levels else image
        level = cv2.resize(larger, size, interpolation=cv2.INTER_AREA)
        levels.append((level, resize_matrix(width / size[0], height / size[1])))
    return levels


def describe_search(width: int, height: int) -> str:
    """Return how a photograph is searched, in words."""
    sizes = _sizes(height, width)
    (largest, smallest) = (f'{w} x {h}' for w, h in (sizes[0], sizes[-1]))
    return f'searched at {len(sizes)} scales from {largest} to {smallest}, also turned by 45, 90, 180 and 270 degrees'


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


def _tilt(level: np.ndarray, back: np.ndarray, angle: float) -> Level:
    """Return the level turned by ``angle`` degrees counter-clockwise, in a square that holds it."""
    height, width = level.shape[:2]
    side = int(np.hypot(height, width)) + 1
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    matrix[:, 2] += (side - width) / 2, (side - height) / 2
    return cv2.warpAffine(level, matrix, (side, side)), compose(back, invert(matrix))


def _to_square(face: DetectedFace, side: int, square: int, upright: bool, mirror: bool) -> np.ndarray:
    """Return the (2, 3) matrix that brings a face to ``side`` pixels in the middle of a square."""
    angle = np.radians(roll_of(face.landmarks)) if upright else 0.0
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    linear = turn * [[-1 if mirror else 1], [1]] * (side / face.side)
    return np.column_stack([linear, (square - 1) / 2 - linear @ (face.box[:2] + face.box[2:]) / 2])


def _in_the_middle(
    faces: Sequence[DetectedFace], look: tuple[int, int], back: np.ndarray, mirrored: bool
) -> DetectedFace | None:
    """Return the best face of about the size and place that the square was cut for, moved by ``back``."""
    side, square = look
    near = [
        face
        for face in faces
        if np.abs((face.box[:2] + face.box[2:]) - (square - 1)).max() < 0.8 * side and side / 2 < face.side < side * 2
    ]
    best = max(near, key=lambda face: face.score, default=None)
    if best is None:
        return None
    if mirrored:
        best = dataclasses.replace(best, landmarks=best.landmarks[[1, 0, 2, 4, 3]])
    return best.moved(back)


def _best_answers(look: Look) -> list[DetectedFace]:
    """Return the best answer, and the next best if it is as good and says that the face lies otherwise."""
    seen = sorted((face for face in look if face is not None), key=lambda face: -face.score)
    others = [face for face in seen if _angle_between(seen[0], face) > OTHERWISE]
    return seen[:1] + [face for face in others[:1] if face.score > seen[0].score - AS_GOOD]


def _angle_between(one: DetectedFace, other: DetectedFace) -> float:
    return abs((roll_of(one.landmarks) - roll_of(other.landmarks) + 180) % 360 - 180)


def _agreed(find: DetectedFace, plain: DetectedFace, mirrored: DetectedFace | None) -> DetectedFace:
    """Return the face that both looks show, with their mean score; upright all along, it keeps a better first one."""
    score = (plain.score + (mirrored.score if mirrored else 0.0)) / 2
    if max(_roll(find), _roll(plain)) <= UPRIGHT:
        score = max(score, find.score)
    return dataclasses.replace(mirrored or plain, score=score)


def _roll(face: DetectedFace) -> float:
    return abs(roll_of(face.landmarks))


def _is_turned(face: DetectedFace) -> bool:
    return _roll(face) > TILTED
