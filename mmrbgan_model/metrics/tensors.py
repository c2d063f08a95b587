"""What metrics share: pictures in and out of tensors, the device, and where weights lie.

A batch of pictures is RGB uint8 (b, h, w, 3); BasicSR hands single pictures over as BGR uint8 (h, w, 3).
"""

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.user_cache import cache_folder


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


def to_pictures(images: Tensor) -> np.ndarray:
    """(b, 3, h, w) in [0, 1] -> RGB uint8 (b, h, w, 3)."""
    return images.detach().float().mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


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


def local_weights(file_name: str, path: str | os.PathLike[str] | None = None) -> Path | None:
    """Return where the weights lie on this machine (the user's path, our cache, torch's), or None; no download."""
    if path is not None:
        return Path(path)
    places = (cache_folder('weights') / file_name, Path(torch.hub.get_dir()) / 'checkpoints' / file_name)
    return next((place for place in places if place.is_file()), None)


def load_state(path: Path) -> dict[str, Any]:
    """Read a state dict of plain tensors.

    Raises:
        UsageError: missing, damaged, or holding anything but tensors and plain values.
    """
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f'{path}: no such file') from error
    except Exception as error:  # a damaged or hostile file fails in torch's reader in many ways
        raise UsageError(f'{path}: not a file of weights ({str(error).splitlines()[0]})') from error


def fill(network: nn.Module, state: dict[str, Any], path: Path) -> nn.Module:
    """Load ``state`` strictly and return the network fixed, in evaluation mode.

    Raises:
        UsageError: the weights are another network's; the line names a key.
    """
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise UsageError(f'{path}: not weights of {type(network).__name__} ({reason})') from error
    return network.requires_grad_(False).eval()


@functools.cache
def file_hash(path: str | os.PathLike[str]) -> str:
    """Return the first 16 hex digits of the file's SHA-256."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()[:16] if hasattr(hashlib, 'file_digest') else _slow(file)


def _slow(file: Any) -> str:
    """Python 3.10 has no ``file_digest``."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()[:16]
