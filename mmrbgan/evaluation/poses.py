"""How far each face of a set is turned: from landmarks of the ground truth, or of the input where there is none.

The measure is ``yaw_of``'s: the nose tip's offset from the middle of the eyes along the eye line, in eye distances.
"""

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np

from mmrbgan_data.components import LANDMARKS_FILE, YAW_EDGES, read_yaws, yaw_of

from .face_set import EvaluationSet, Pictures

LABELS = ('frontal, below 0.10', 'slightly turned, 0.10 to 0.25', 'turned, 0.25 to 0.50', 'profile, from 0.50')


@dataclasses.dataclass(frozen=True)
class PoseFinder:
    """Tells a face's yaw: from a file by name, else by dlib on the picture.

    Attributes:
        source: in words, for the record.
        known: stem -> yaw.
    """

    source: str
    known: dict[str, float] | None

    def yaw(self, pictures: Pictures) -> float | None:
        """Return the yaw of a face, None if it is in no list or no face is found."""
        if self.known is not None:
            return self.known.get(pictures.face.name)
        from mmrbgan_data.detection import DlibDetector

        picture = next(one for one in (pictures.gt, pictures.lq, pictures.restored) if one is not None)
        found = DlibDetector(max_side=max(picture.shape[:2]))(picture)
        return yaw_of(found[0].landmarks) if found else None


def find_poses(faces: EvaluationSet, landmarks: str | None) -> PoseFinder:
    """Return what tells the yaw: the file given, landmarks.csv beside GT or LQ, else dlib.

    Raises:
        UsageError: the file is missing or not of landmarks.
    """
    beside = [faces.sources[kind].root / LANDMARKS_FILE for kind in ('gt', 'lq') if kind in faces.sources]
    path = Path(landmarks) if landmarks else next((one for one in beside if one.is_file()), None)
    if path is None:
        kind = next(kind for kind in ('gt', 'lq', 'restored') if kind in faces.sources)
        return PoseFinder(f'dlib, 68 points on {kind}', None)
    return PoseFinder(path.name, {str(Path(name).with_suffix('')): yaw for name, yaw in read_yaws(path).items()})


def pose_masks(yaws: list[float | None]) -> list[tuple[str, np.ndarray]]:
    """Return (label, bool mask (n,)) of every bin that holds a face."""
    turned = np.array([np.nan if yaw is None else abs(yaw) for yaw in yaws])
    masks = [(turned >= low) & (turned < high) for low, high in pairwise(YAW_EDGES)]
    masks.append(np.isnan(turned))
    return [(label, mask) for label, mask in zip((*LABELS, 'pose unknown'), masks, strict=True) if mask.any()]
