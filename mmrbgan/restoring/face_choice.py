"""Chooses which faces of a photograph are restored: all, one, or those a user ticked in a file."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.detected_face import DetectedFace

from .results import Face

CHOICES = ('all', 'all-uncertain', 'largest', 'center')
UNCERTAIN = 'uncertain, restored with --faces all-uncertain'
FAR_OUTSIDE = 4.0  # a landmark this many picture sides away is a mistake or an attack


@dataclasses.dataclass(frozen=True, eq=False)
class FaceFile:
    """The faces of a --json report, perhaps edited: "restore": false leaves one alone, a removed one is unknown.

    Attributes:
        path: for error lines.
        photos: faces by the file's path as reported, and by its bare name where no other file has it.
        reason: what is said of a face that is left alone.
    """

    path: Path
    photos: Mapping[str, Sequence[Mapping[str, Any]]]
    reason: str = 'left alone by the faces file'

    def faces(self, name: str, width: int, height: int) -> list[Face]:
        """Return the faces of the photograph ``name``.

        Raises:
            UsageError: the file does not know it, or has landmarks that cannot be.
        """
        entries = self.photos.get(name, self.photos.get(Path(name).name))
        if entries is None:
            raise UsageError(f'{name}: not in {self.path}; make that file again with --json')
        return [self._face(entry, max(width, height), f'{self.path}: {name}') for entry in entries]

    def _face(self, entry: Mapping[str, Any], side: int, where: str) -> Face:
        try:
            points = np.array(entry['landmarks'], float).reshape(-1, 2)
            score = float(entry.get('score', 1.0))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f'{where}: a face needs "landmarks": [[x, y], ...], 5 or 68 of them, and a number for "score" if any'
            ) from error
        if len(points) not in (5, 68) or not (np.abs(points) < FAR_OUTSIDE * side).all():
            raise UsageError(f'{where}: landmarks must be 5 or 68 points in or near the picture')
        box = np.concatenate([points.min(0), points.max(0)])
        skipped = None if entry.get('restore', True) else self.reason
        return Face(box, points, score, skipped)


def read_face_file(path: str | Path) -> FaceFile:
    """Read a --json report.

    Raises:
        UsageError: no such file, or not of that form.
    """
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
        photos = {str(photo['file']): list(photo.get('faces', ())) for photo in content['photos']}
    except OSError as error:
        raise UsageError(f'--faces {path}: {error.strerror}; known are {", ".join(CHOICES)} and FILE.json') from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f'--faces {path}: not a report of `mmrbgan restore --json`') from error
    names = Counter(Path(name).name for name in photos)
    by_name = {Path(name).name: faces for name, faces in photos.items() if names[Path(name).name] == 1}
    return FaceFile(Path(path), by_name | photos)


def choose_faces(found: Sequence[DetectedFace], which: str, min_face: float, shape: tuple[int, ...]) -> list[Face]:
    """Return all faces, those that are not wanted with the reason.

    Args:
        found: the detector's faces, the largest first.
        which: all (that are certain), all-uncertain, largest or center.
        min_face: least side of the box in pixels.
        shape: (h, w, ...) of the photograph.

    Raises:
        UsageError: an unknown ``which``.
    """
    if which not in CHOICES:
        raise UsageError(f'--faces {which}: known are {", ".join(CHOICES)} and FILE.json')
    doubt = None if which == 'all-uncertain' else UNCERTAIN
    faces = [
        Face(face.box, face.landmarks, face.score, _too_small(face, min_face) or (None if face.certain else doubt))
        for face in found
    ]
    wanted = [face for face in faces if face.skipped is None]
    if which in ('all', 'all-uncertain') or not wanted:
        return faces
    chosen = wanted[0] if which == 'largest' else min(wanted, key=lambda face: _from_centre(face, shape))
    for face in wanted:
        if face is not chosen:
            face.skipped = 'not the largest' if which == 'largest' else 'not the most central'
    return faces


def _too_small(face: DetectedFace, min_face: float) -> str | None:
    return f'too small ({face.side:.0f} px, --min-face {min_face:g})' if face.side < min_face else None


def _from_centre(face: Face, shape: tuple[int, ...]) -> float:
    x, y = (face.box[:2] + face.box[2:]) / 2
    return float(np.hypot(x - shape[1] / 2, y - shape[0] / 2))
