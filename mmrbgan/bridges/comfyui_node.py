"""A ComfyUI node that restores the faces of a batch of images.

To install it, put a file ``mmrbgan_nodes.py`` into ComfyUI's ``custom_nodes`` with this line in it::

    from mmrbgan.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

Faces of all images of the batch go through the network together. Importing this also lets ComfyUI's own loader, which
is spandrel, read our weights.
"""

import contextlib
import functools
import re
from typing import Any

import torch
from torch import Tensor

from mmrbgan_arch.support.errors import UsageError

from ..restoring.face_choice import CHOICES
from ..restoring.restorer import Restorer
from ..restoring.settings import Settings


class RestoreFaces:
    """Restores faces: IMAGE (b, h, w, 3) float RGB in [0, 1] -> the same, and how many were restored."""

    CATEGORY = 'image/faces'
    RETURN_TYPES = ('IMAGE', 'INT')
    RETURN_NAMES = ('image', 'faces')
    FUNCTION = 'restore'

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        """Return the node's inputs."""
        return {
            'required': {
                'image': ('IMAGE',),
                'strength': ('FLOAT', {'default': 1.0, 'min': 0.0, 'max': 1.0, 'step': 0.05}),
                'faces': (list(CHOICES),),
                'weights': ('STRING', {'default': '', 'tooltip': 'file or name; empty: the weights that ship'}),
            }
        }

    def restore(self, image: Tensor, strength: float, faces: str, weights: str) -> tuple[Tensor, int]:
        """Restore the batch; a fourth channel (alpha) comes out as it went in.

        Raises:
            UsageError: an input of another shape, or with values that are no numbers.
        """
        _check(image)
        if not len(image):
            return image, 0
        photos = list(image[..., :3].detach().float().cpu().clamp(0, 1).permute(0, 3, 1, 2))
        try:
            results = list(load_restorer(weights).restore_many(photos, Settings(strength=strength, faces=faces)))
        except UsageError as error:
            raise UsageError(_without_flags(error)) from error
        restored, count = [], 0
        for _, result in results:
            if isinstance(result, Exception):
                raise UsageError(_without_flags(result)) from result
            restored.append(result.to_tensor().permute(1, 2, 0))
            count += len(result.restored_faces)
        colours = torch.stack(restored).to(image)
        return torch.cat([colours, image[..., 3:]], -1), count


def _check(image: Tensor) -> None:
    if image.ndim != 4 or image.shape[-1] not in (3, 4) or 0 in image.shape[1:]:
        raise UsageError(f'image: a batch (b, h, w, 3 or 4) is restored; found {tuple(image.shape)}')
    if not torch.isfinite(image).all():
        raise UsageError('image: NaN or infinite values; the node before this one computed them')


def _without_flags(error: Exception) -> str:
    """Return the message without the dashes of a shell: an input of the node is called as the flag."""
    return re.sub(r'(?<![\w-])--([a-z])', r'\1', str(error)) or type(error).__name__


@functools.cache
def load_restorer(weights: str) -> Restorer:
    """Return the restorer of ``weights``, loaded once."""
    return Restorer(weights or None)


NODE_CLASS_MAPPINGS = {'MMRBGANRestoreFaces': RestoreFaces}
NODE_DISPLAY_NAME_MAPPINGS = {'MMRBGANRestoreFaces': 'Restore faces (MMRBGAN)'}

with contextlib.suppress(ImportError):
    from .spandrel_loader import register

    register()
