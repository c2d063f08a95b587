"""What restoring gives back: the photograph, its faces with what was done to each, and the same as JSON."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from mmrbgan_arch.support.atomic_files import write_bytes
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.detected_face import roll_of

from .files.photo_file import KNOWN_SUFFIXES, Picture, encode_picture, output_format, to_8_bits


@dataclasses.dataclass(eq=False)
class Face:
    """One face of a photograph.

    Attributes:
        box: (4,) x1 y1 x2 y2 in the photograph's pixels.
        landmarks: (5, 2) or (68, 2) in the photograph's pixels.
        score: the detector's.
        skipped: why it was left alone, or None.
        crop: (s, s, 3) uint8 RGB, aligned, at the network's size; None if skipped.
        restored: (s, s, 3) uint8 RGB, the same restored (at full strength).
        strength: what was applied; below the one asked for if the identity guard lowered it.
        similarity: the recogniser's score of the pasted face against the input, if asked for.
        matrix: (2, 3), from the photograph's pixels to the crop's.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float
    skipped: str | None = None
    crop: np.ndarray | None = None
    restored: np.ndarray | None = None
    strength: float = 1.0
    similarity: float | None = None
    matrix: np.ndarray | None = None

    @property
    def roll(self) -> float:
        """By how many degrees the face is turned clockwise in the photograph; 0 is upright."""
        return roll_of(self.landmarks) if len(self.landmarks) else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and text; ``restore`` is what --faces FILE.json reads."""
        return {
            'restore': self.skipped is None,
            'skipped': self.skipped,
            'box': [round(float(edge), 1) for edge in self.box],
            'score': round(float(self.score), 4),
            'roll': round(self.roll),
            'strength': round(self.strength, 3) if self.skipped is None else 0.0,
            'similarity': None if self.similarity is None else round(self.similarity, 4),
            'landmarks': [[round(float(x), 2), round(float(y), 2)] for x, y in self.landmarks],
        }


@dataclasses.dataclass(eq=False)
class RestoredPhoto:
    """A restored photograph.

    Attributes:
        name: the path, or what the caller called it.
        picture: the restored picture, with the file's alpha and what it says beside its pixels.
        before: the picture as it came, enlarged alike.
        size: (width, height) as it came.
        faces: all that were found, the largest first.
        changed: False if the pixels are those of the input and the scale is 1.
        detector: which one found the faces.
        searched: how the photograph was searched, in words; empty where the detector does not say, or did not search.
    """

    name: str
    picture: Picture
    before: Picture
    size: tuple[int, int]
    faces: list[Face]
    changed: bool
    detector: str
    searched: str = ''

    @property
    def image(self) -> np.ndarray:
        """(h, w, 3) RGB, or (h, w, 4) with alpha; uint8 or uint16 as the input."""
        if self.picture.alpha is None:
            return self.picture.pixels
        return np.dstack([self.picture.pixels, self.picture.alpha])

    @property
    def restored_faces(self) -> list[Face]:
        """The faces that were not skipped."""
        return [face for face in self.faces if face.skipped is None]

    def to_pil(self) -> Any:
        """Return an 8-bit Pillow image, RGB or RGBA."""
        from PIL import Image

        return Image.fromarray(to_8_bits(self.image))

    def to_tensor(self) -> Any:
        """Return a float tensor (3, h, w), RGB in [0, 1]."""
        import torch

        limit = np.iinfo(self.picture.pixels.dtype).max
        return torch.from_numpy(self.picture.pixels.astype(np.float32) / limit).permute(2, 0, 1).contiguous()

    def save(self, path: str | Path) -> None:
        """Write the picture in the format of the path's suffix (none: PNG), with alpha, 16 bits, profile and EXIF.

        Raises:
            UsageError: a suffix that is not written.
        """
        suffix = Path(path).suffix.lower() or '.png'
        if suffix not in KNOWN_SUFFIXES:
            raise UsageError(f'{path}: cannot write {suffix}; known are {", ".join(sorted(KNOWN_SUFFIXES))}')
        write_bytes(path, encode_picture(self.picture, output_format(self.picture, suffix.lstrip('.'))))

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and text."""
        warning = {'warning': self.picture.warning} if self.picture.warning else {}
        return {
            'file': self.name,
            'size': list(self.size),
            **warning,
            'detector': self.detector,
            **({'searched': self.searched} if self.searched else {}),
            'faces': [face.to_json() for face in self.faces],
        }
