"""``GFPGANer`` of the package gfpgan with our network: existing programs switch by one import."""

import os
from typing import Any

import cv2
import numpy as np

from .restore_settings import Settings
from .restorer import Restorer

FACE_SIZE = 512  # what callers of GFPGANer expect


class GFPGANer:
    """Takes and returns BGR uint8 pictures, as gfpgan's class does.

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
        self.restorer = Restorer(model_path, device=str(device) if device is not None else 'auto', settings=settings)
        self.upscale = upscale
        self.bg_upsampler = bg_upsampler

    def enhance(
        self,
        img: np.ndarray,
        has_aligned: bool = False,
        only_center_face: bool = False,
        paste_back: bool = True,
        weight: float = 1.0,
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray | None]:
        """Restore.

        Args:
            img: BGR uint8 (h, w, 3).
            has_aligned: it is one aligned face.
            only_center_face: leave all but the most central face alone.
            paste_back: return the photograph too.
            weight: strength; in gfpgan it does nothing.

        Returns:
            the aligned faces and the restored ones, BGR uint8 (512, 512, 3), and the photograph or None.
        """
        background = None
        if self.bg_upsampler is not None and paste_back and not has_aligned:
            background = self.bg_upsampler.enhance(img, outscale=self.upscale)[0]
        crops, faces, photo = self.restorer.enhance(
            img, has_aligned, only_center_face, paste_back, strength=weight, background=background
        )
        return [_to_512(face) for face in crops], [_to_512(face) for face in faces], photo


def _to_512(face: np.ndarray) -> np.ndarray:
    method = cv2.INTER_AREA if face.shape[0] > FACE_SIZE else cv2.INTER_CUBIC
    return cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=method)
