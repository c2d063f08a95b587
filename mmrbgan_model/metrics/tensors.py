"""What metrics share: pictures as tensors, and the device.

A batch of pictures is RGB uint8 (b, h, w, 3); BasicSR hands single pictures over as BGR uint8 (h, w, 3).
"""

import numpy as np
import torch
from torch import Tensor

from mmrbgan_arch.support.errors import UsageError


def from_bgr(img: np.ndarray) -> np.ndarray:
    """BasicSR's BGR uint8 (h, w, 3) -> a batch of one, RGB uint8 (1, h, w, 3).

    Raises:
        UsageError: another shape or type.
    """
    if img.ndim != 3 or img.shape[2] != 3 or img.dtype != np.uint8:
        raise UsageError(f'metrics take BGR uint8 (h, w, 3); found {img.dtype} {img.shape}')
    return np.ascontiguousarray(img[None, ..., ::-1])


def to_unit(pictures: np.ndarray, device: torch.device | str = 'cpu') -> Tensor:
    """RGB uint8 (b, h, w, 3) -> float32 (b, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2).float().div(255)


def same_shape(restored: np.ndarray, gt: np.ndarray | None) -> np.ndarray:
    """Return ``gt``, or raise UsageError where it is missing or differs in shape."""
    if gt is None:
        raise UsageError('this metric compares with a ground truth, and there is none')
    if restored.shape != gt.shape:
        raise UsageError(f'restored {restored.shape[1:3]} and ground truth {gt.shape[1:3]} differ in height or width')
    return gt


def pick_device(device: str | None) -> torch.device:
    """Return the device of that name; None or 'auto': CUDA where there is one.

    Raises:
        UsageError: torch does not know the name.
    """
    if device in (None, 'auto'):
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        return torch.device(str(device))
    except RuntimeError as error:
        raise UsageError(f'device: {device!r} is no device; use auto, cpu, cuda or cuda:1') from error
