"""``GFPGANer`` of the package gfpgan with our network: existing programs switch by one import.

Importing this also makes an installed basicsr 1.4.2 importable (PyPI's fails on today's torchvision), so a program that
imports basicsr itself has this import first.
"""

import dataclasses
import logging
import os
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError

from ..restoring.face_network import FaceNetwork
from ..restoring.restorer import Restorer
from ..restoring.settings import Settings

FACE_SIZE = 512  # what callers of GFPGANer expect
FOREIGN_WEIGHTS = ('gfpgan', 'restoreformer', 'codeformer')  # how the files begin that such programs name
_LOGGER = logging.getLogger(__name__)

basicsr_bridge.mend()


class GFPGANer(Restorer):
    """Takes and returns BGR uint8 pictures, as gfpgan's class does; its ``weight``, idle there, is the strength.

    Args:
        model_path: our weights. None, and the paths and addresses of GFPGAN's own files, take those that ship.
        upscale: enlargement of the photograph.
        arch: taken for compatibility; the file itself says which network it holds.
        channel_multiplier: as ``arch``.
        bg_upsampler: an object whose ``enhance(img, outscale=...)`` returns (picture, ...); enlarges the background.
        device: torch's name; None chooses.

    Attributes:
        gfpgan: the network as a module, (b, 3, h, w) RGB in [-1, 1] -> (the same, []).
        face_helper: what the last ``enhance`` found, under facexlib's names.

    Raises:
        UsageError: weights that cannot be used, or the address of others.
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
        chosen, settings = 'auto' if device is None else str(device), Settings(scale=upscale)
        super().__init__(_own_weights(model_path), device=chosen, engine='torch', settings=settings)
        assert isinstance(self.network, FaceNetwork)
        self.bg_upsampler = bg_upsampler
        self.gfpgan = FaceModule(self.network)
        self.face_helper = FaceHelper(upscale)

    @property
    def upscale(self) -> float:
        """Enlargement of the photograph; may be set between calls."""
        return self.settings.scale

    @upscale.setter
    def upscale(self, value: float) -> None:
        self.settings = dataclasses.replace(self.settings, scale=value)
        self.face_helper.upscale_factor = value

    def enhance(self, img: np.ndarray, *args: Any, **kwargs: Any) -> tuple[list[np.ndarray], list[np.ndarray], Any]:
        """Restore; arguments and results are ``Restorer.enhance``'s, the faces (512, 512, 3)."""
        self.face_helper.clean_all()
        crops, faces, photo = super().enhance(img, *args, **kwargs)
        self.face_helper.cropped_faces = [_to_512(face) for face in crops]
        self.face_helper.restored_faces = [_to_512(face) for face in faces]
        return self.face_helper.cropped_faces, self.face_helper.restored_faces, photo

    def enlarge(self, img: np.ndarray) -> np.ndarray | None:
        """Return the photograph that ``bg_upsampler`` enlarged, if there is one."""
        return None if self.bg_upsampler is None else self.bg_upsampler.enhance(img, outscale=self.settings.scale)[0]

    def finish(self, job: Any, *args: Any) -> Any:
        """Finish as ``Restorer`` does, and note the faces for ``face_helper``."""
        result = super().finish(job, *args)
        for face in result.restored_faces:
            self.face_helper.det_faces.append(np.append(face.box, face.score))
            self.face_helper.all_landmarks_5.append(_five(face.landmarks))
            self.face_helper.affine_matrices.append(face.matrix)
        return result


@dataclasses.dataclass(eq=False)
class FaceHelper:
    """What the last call found: facexlib's ``FaceRestoreHelper`` as far as programs look at it; pictures are BGR.

    Attributes:
        upscale_factor: of the photograph.
        cropped_faces: (512, 512, 3) uint8 each.
        restored_faces: the same, restored.
        det_faces: (5,) each: the box x1 y1 x2 y2 in the photograph's pixels, and the score.
        all_landmarks_5: (5, 2) each.
        affine_matrices: (2, 3) each, from the photograph's pixels to the network's face.
    """

    upscale_factor: float
    cropped_faces: list[np.ndarray] = dataclasses.field(default_factory=list)
    restored_faces: list[np.ndarray] = dataclasses.field(default_factory=list)
    det_faces: list[np.ndarray] = dataclasses.field(default_factory=list)
    all_landmarks_5: list[np.ndarray] = dataclasses.field(default_factory=list)
    affine_matrices: list[Any] = dataclasses.field(default_factory=list)
    face_size: tuple[int, int] = (FACE_SIZE, FACE_SIZE)

    def clean_all(self) -> None:
        """Forget the last call."""
        self.cropped_faces, self.restored_faces = [], []
        self.det_faces, self.all_landmarks_5, self.affine_matrices = [], [], []


class FaceModule(nn.Module):
    """The network as programs call GFPGAN's: (b, 3, h, w) RGB in [-1, 1] -> (the same, []); other keywords are idle."""

    def __init__(self, network: FaceNetwork) -> None:
        super().__init__()
        self._networks = [network]  # in a list, so that ``to`` and ``state_dict`` leave it where it is

    def forward(self, x: Tensor, return_rgb: bool = False, **kwargs: Any) -> tuple[Tensor, list[Tensor]]:
        """Restore a batch."""
        network = self._networks[0]
        restored = network.restore(_resize(x.to(network.device).float(), network.size))
        return _resize(restored.float(), x.shape[-1]).to(x.device), []


def _own_weights(path: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """Return None, that is the weights that ship, where a program names those of GFPGAN or its kin."""
    text = '' if path is None else os.fspath(path).replace('\\', '/')
    name = PurePosixPath(text.partition('?')[0]).name.lower()
    if name.startswith(FOREIGN_WEIGHTS):
        _LOGGER.warning("%s holds another network's weights; restoring with those that ship with mmrbgan", path)
        return None
    if '://' in text:
        raise UsageError(f'{path}: fetch it yourself and name the file; `mmrbgan weights get` has public ones')
    return path


def _five(landmarks: np.ndarray) -> np.ndarray:
    from mmrbgan_data.alignment import five_points

    return five_points(landmarks) if len(landmarks) else landmarks


def _resize(faces: Tensor, size: int) -> Tensor:
    if faces.shape[-1] == faces.shape[-2] == size:
        return faces
    return F.interpolate(faces, (size, size), mode='bicubic', align_corners=False, antialias=True).clamp(-1, 1)


def _to_512(face: np.ndarray) -> np.ndarray:
    method = cv2.INTER_AREA if face.shape[0] > FACE_SIZE else cv2.INTER_CUBIC
    return cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=method)
