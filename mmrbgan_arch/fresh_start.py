"""Initialises a network without a pretrained prior as the identity, so that training starts from the input.

Not in the paper, which starts from a pretrained prior. The path is one the network has anyway: stem, noise branch of
the last block, last RGB layer. The stem's filters come in pairs (v, -v); the leaky ReLU of a pair is linear in its
difference, f(a) - f(-a) = (1 + slope) a, also after two activations in a row; the last RGB layer takes these
differences and inverts the stem. Loading weights overwrites all of it.
"""

import torch
from torch import Tensor

from .codec_arch import Encoder
from .layers import SLOPE
from .stylegan2_arch import StyleGAN2Prior, ToRGB


@torch.no_grad()
def start_as_identity(encoder: Encoder, prior: StyleGAN2Prior, noise_start: float) -> None:
    """Set the stem and the last RGB layer so that noise branches of weight ``noise_start`` carry the input through."""
    stem = encoder.stem.conv
    half = stem.weight.shape[0] // 2
    stem.weight[half : 2 * half] = -stem.weight[:half]
    directions = stem.weight[:half, :, 0, 0] * stem.scale  # (half, 3)
    # Two activations, each with gain sqrt(2): a pair's difference is 2 (1 + slope^2) noise_start a.
    inverse = torch.linalg.pinv(directions) / (2 * (1 + SLOPE**2) * noise_start)  # (3, half)
    last = prior.to_rgbs[-1]
    assert isinstance(last, ToRGB)
    _read_pairs(last, inverse)


def _read_pairs(to_rgb: ToRGB, inverse: Tensor) -> None:
    """Let an RGB layer add up ``inverse`` times the pairs' differences; its style begins as 1, its bias."""
    conv, half = to_rgb.conv, inverse.shape[1]
    conv.modulation.weight.zero_()
    noise = conv.weight[:, conv.weight.shape[1] // 2 :, 0, 0]  # (3, c): the channels from the noise branch, a view
    noise[:, :half] = inverse / conv.scale
    noise[:, half : 2 * half] = -inverse / conv.scale
