"""LPIPS (Zhang et al., 2018) by the authors' package ``lpips``, with AlexNet or VGG-16; the backbone is always named.

The package itself would fetch torchvision's backbone without asking; here the file comes by path or from a cache.
"""

import functools
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mmrbgan_arch.basicsr_bridge import register_metric
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.public_weights import FILES, find_weights
from mmrbgan_arch.support.ranges import Device
from mmrbgan_arch.weights_io import fill, read_state

from .tensors import from_bgr, pick_device, same_shape, to_unit

Backbone = Literal['alex', 'vgg']


@register_metric
def calculate_lpips(
    img: np.ndarray,
    img2: np.ndarray,
    net: Backbone = 'alex',
    weights: str | None = None,
    device: Device | None = None,
    **kwargs: Any,  # BasicSR hands `better` over, too
) -> float:
    """LPIPS between two BGR uint8 pictures (h, w, 3); lower is better.

    Args:
        img: the restored picture.
        img2: the ground truth.
        net: backbone, 'alex' or 'vgg'.
        weights: torchvision's file of the backbone; None: a cache, else a download.
        device: torch's name; None: CUDA where there is one.
        kwargs: BasicSR's own, such as ``better``; not looked at.
    """
    return float(lpips(from_bgr(img), from_bgr(img2), net, weights, device)[0])


@torch.inference_mode()
def lpips(
    restored: np.ndarray,
    gt: np.ndarray | None,
    net: Backbone = 'alex',
    weights: str | Path | None = None,
    device: str | None = None,
) -> np.ndarray:
    """RGB uint8 (b, h, w, 3) twice -> LPIPS (b,)."""
    gt = same_shape(restored, gt)
    target = pick_device(device)
    network = load_lpips(net, str(weights_path(net, weights)), target)
    result: np.ndarray = network(to_unit(restored, target) * 2 - 1, to_unit(gt, target) * 2 - 1).flatten().cpu().numpy()
    return result


def weights_path(net: Backbone, weights: str | Path | None = None) -> Path:
    """Return the backbone's file: the path given, one in a cache, else a download.

    Raises:
        UsageError: an unknown backbone, or no file and no network.
    """
    if f'lpips_{net}' not in FILES:
        raise UsageError(f'net: {net!r} is no backbone of LPIPS here; use alex or vgg')
    return find_weights(FILES[f'lpips_{net}'], weights, 'weights (of calculate_lpips)', 'leave LPIPS out')


@functools.cache
def load_lpips(net: Backbone, path: str, device: torch.device) -> Any:
    """Return the network of the package, its backbone filled from torchvision's file."""
    try:
        from lpips import LPIPS
    except ImportError as error:
        raise UsageError('LPIPS needs the package lpips; `pip install lpips`') from error
    network = LPIPS(net=net, pnet_rand=True, verbose=False)
    _fill_backbone(network.net, read_state(path), path)
    return network.requires_grad_(False).eval().to(device)


def _fill_backbone(backbone: Any, state: dict[str, Tensor], path: str) -> None:
    """Fill the package's slices, whose layers keep their numbers in torchvision's ``features``."""
    keys = {re.sub(r'slice\d+', 'features', key): key for key in backbone.state_dict()}
    fill(backbone, {keys[key]: value for key, value in state.items() if key in keys}, path)
