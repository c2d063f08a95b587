"""The generator for restoring only: constants folded, passes fused, Winograd on CPUs."""

import torch

from ..mmrbgan_arch import MMRBGAN
from .modules import InferenceMMRBGAN
from .plan import Plan
from .winograd import pays

__all__ = ['InferenceMMRBGAN', 'Plan', 'prepare_for_inference']


@torch.no_grad()
def prepare_for_inference(
    network: MMRBGAN, dtype: torch.dtype | None = None, winograd: bool | None = None, release: bool = False
) -> InferenceMMRBGAN:
    """Return a network that computes the same images faster; it holds its own copy of the weights.

    Args:
        network: the generator.
        dtype: precision of its feature maps; by default the parameters'.
        winograd: large convolutions by Winograd's method; by default where it pays, in float32 on most CPUs.
        release: free the generator's weights on the way, for the sake of memory; it is of no use afterwards.
    """
    constant = network.prior.constant
    dtype = dtype or constant.dtype
    if winograd is None:
        winograd = pays(constant.device, dtype)
    prepared = InferenceMMRBGAN(network, Plan(dtype, winograd, release))
    prepared.eval()
    return prepared
