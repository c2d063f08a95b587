"""The networks of MMRBGAN (arXiv 2205.14377), usable with and without BasicSR."""

from .checkpoints import load_network
from .discriminator_arch import MMRBGANComponentDiscriminator, MMRBGANDiscriminator
from .identity_arch import MMRBGANArcFace, MMRBGANMobileFaceNet
from .mmrb_arch import MMRB
from .mmrbgan_arch import MMRBGAN

__all__ = [
    'MMRB',
    'MMRBGAN',
    'MMRBGANArcFace',
    'MMRBGANComponentDiscriminator',
    'MMRBGANDiscriminator',
    'MMRBGANMobileFaceNet',
    'load_network',
]
