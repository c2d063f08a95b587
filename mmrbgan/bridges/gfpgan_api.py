"""``GFPGANer`` of the package gfpgan with our network: existing programs switch by one import."""

import os
from typing import Any

import cv2
import numpy as np

from ..restoring.restorer import Restorer
from ..restoring.settings import Settings

FACE_SIZE = 512  # what callers of GFPGANer expect


class GFPGANer(Restorer):
    """Takes and returns BGR uint8 pictures, as gfpgan's class does; its ``weight``, idle there, is the strength.

    Args:
        model_path: our weights; None takes those that ship.
        upscale: enlargement of the photograph.
        arch: taken for compatibility; the file itself says which network it holds.
        channel_multiplier: as ``arch``.
        bg_upsampler: an object whose ``enhance(img, outscale=...)`` returns (picture, ...); enlarges the background.
        device: torch's name; None chooses.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        upscale: float = 2,
        arch: str = 'clean',
        channel_multiplier: int = 2,
        bg_upsampler: Any = None,
        device: Any = None,
    ) -> None:
        settings = Settings(scale=upscale)
        super().__init__(model_path, device='auto' if device is None else str(device), settings=settings)
        self.bg_upsampler = bg_upsampler

    def enhance(self, img: np.ndarray, *args: Any, **kwargs: Any) -> tuple[list[np.ndarray], list[np.ndarray], Any]:
        """Restore; arguments and results are ``Restorer.enhance``'s, the faces (512, 512, 3)."""
        crops, faces, photo = super().enhance(img, *args, **kwargs)
        return [_to_512(face) for face in crops], [_to_512(face) for face in faces], photo

    def enlarge(self, img: np.ndarray) -> np.ndarray | None:
        """Return the photograph that ``bg_upsampler`` enlarged, if there is one."""
        return None if self.bg_upsampler is None else self.bg_upsampler.enhance(img, outscale=self.settings.scale)[0]


def _to_512(face: np.ndarray) -> np.ndarray:
    method = cv2.INTER_AREA if face.shape[0] > FACE_SIZE else cv2.INTER_CUBIC
    return cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=method)
