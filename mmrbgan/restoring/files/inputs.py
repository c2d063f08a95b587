"""Pictures from what other programs hold: arrays, Pillow images, tensors."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.images import UnreadableImageError

from .photo_file import Picture, from_pillow, read_picture

Photo = Any
"""A path, a Pillow image, an RGB(A) or grey array (uint8, uint16), or a float tensor (3, h, w) in [0, 1]."""


def as_picture(photo: Photo) -> tuple[str, Picture]:
    """Return a name and the picture of a path, Pillow image, array or tensor.

    Raises:
        UnreadableImageError: the file cannot be read, or a Pillow image has 32 bits.
        UsageError: an object of another kind.
    """
    if isinstance(photo, (str, os.PathLike)):
        return str(photo), read_picture(Path(photo))
    if isinstance(photo, np.ndarray):
        return 'array', from_array(photo)
    if hasattr(photo, 'getexif'):
        try:
            return str(getattr(photo, 'filename', '') or 'image'), from_pillow(photo)
        except UnreadableImageError as error:
            raise UnreadableImageError(f'image: {error}') from error
    return 'tensor', from_tensor(photo)


def from_array(array: np.ndarray) -> Picture:
    """Take (h, w), (h, w, 3) RGB or (h, w, 4) RGBA, uint8 or uint16.

    Raises:
        UsageError: another shape or type.
    """
    channels = 1 if array.ndim == 2 else array.shape[-1] if array.ndim == 3 else 0
    if array.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4) or 0 in array.shape:
        raise UsageError(
            f'an array of shape {array.shape} and type {array.dtype}; restore takes (h, w), (h, w, 3) RGB or '
            '(h, w, 4) RGBA of uint8 or uint16'
        )
    layers = array.reshape(*array.shape[:2], channels)
    if channels == 1:
        return Picture(np.repeat(layers, 3, 2), grey=True)
    alpha = np.ascontiguousarray(layers[:, :, 3]) if channels == 4 else None
    return Picture(np.ascontiguousarray(layers[:, :, :3]), alpha)


def from_tensor(tensor: Any) -> Picture:
    """Take a float tensor (3, h, w) or (1, h, w), RGB or grey in [0, 1].

    Raises:
        UsageError: another kind, shape or range.
    """
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise UsageError(f'restore takes a path, a Pillow image, an array or a tensor; found {type(tensor).__name__}')
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3) or not tensor.is_floating_point() or not tensor.numel():
        raise UsageError(f'a tensor of shape {tuple(tensor.shape)} and {tensor.dtype}; restore takes float (3, h, w)')
    if not bool(((tensor >= 0) & (tensor <= 1)).all()):
        raise UsageError('a tensor with values outside [0, 1]; scale it first')
    array = (tensor.detach().float().cpu() * 255).round().byte().permute(1, 2, 0).numpy()
    return from_array(np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array))
