"""The networks of MMRBGAN (arXiv 2205.14377), usable with and without BasicSR.

They are imported on first use, so that what needs no network (``--help``, preparing data) does not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .discriminator_arch import MMRBGANComponentDiscriminator, MMRBGANDiscriminator
    from .identity_arch import MMRBGANArcFace, MMRBGANMobileFaceNet
    from .mmrb_arch import MMRB
    from .mmrbgan_arch import MMRBGAN
    from .weights_io import load_network

__all__ = [
    'MMRB',
    'MMRBGAN',
    'MMRBGANArcFace',
    'MMRBGANComponentDiscriminator',
    'MMRBGANDiscriminator',
    'MMRBGANMobileFaceNet',
    'load_network',
]

_MODULES = {
    'MMRB': 'mmrb_arch',
    'MMRBGAN': 'mmrbgan_arch',
    'MMRBGANArcFace': 'identity_arch',
    'MMRBGANComponentDiscriminator': 'discriminator_arch',
    'MMRBGANDiscriminator': 'discriminator_arch',
    'MMRBGANMobileFaceNet': 'identity_arch',
    'load_network': 'weights_io',
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'.{_MODULES[name]}', __name__), name)
