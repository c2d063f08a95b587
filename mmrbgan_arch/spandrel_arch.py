"""Other people's restorers in our option files: what spandrel loads (GFPGAN, RestoreFormer, CodeFormer, ...).

spandrel tells the architecture from the weights and reads them safely. CodeFormer's licence is restricted, so it comes
with the package spandrel_extra_arches. Install both with the extra ``baselines``.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .basicsr_bridge import register_arch
from .support.errors import UsageError

FACE_SIZE = 512  # pixels; GFPGAN, RestoreFormer and CodeFormer take no other


@register_arch
class SpandrelNet(nn.Module):
    """A restorer of another project: (b, 3, h, w) RGB in [-1, 1] -> the same.

    The file is read by ``load_weights`` or at the first picture, so that building is free of file access.
    """

    brings_its_weights = True  # `basicsr test` asks for no pretrain_network_g

    def __init__(self, weights: str) -> None:
        """Args: weights: path of the published file, such as GFPGANv1.4.pth."""
        super().__init__()
        self.weights = weights
        self.peer: Any = None

    def load_weights(self) -> None:
        """Read the file, once."""
        if self.peer is None:
            self.peer = load_peer(self.weights)

    def forward(self, x: Tensor) -> Tensor:
        """Scale to the size the network wants, restore, scale back."""
        self.load_weights()
        peer, size = self.peer.to(x.device), x.shape[-2:]
        restore = restore_face if peer.purpose == 'FaceSR' else restore_any
        restored = restore(peer, x.float())
        return _resize(restored, size).clamp(-1, 1)


def restore_face(peer: Any, x: Tensor) -> Tensor:
    """Run a face restorer: (b, 3, h, w) in [-1, 1] -> (b, 3, 512, 512) in about [-1, 1].

    These networks work in [-1, 1], but spandrel's own call hands the picture on as it is and cuts the result to [0, 1],
    so the network is called directly; GFPGAN's noise is kept fixed.
    """
    keeps_noise = 'randomize_noise' in inspect.signature(peer.model.forward).parameters
    arguments = {'randomize_noise': False} if keeps_noise else {}
    out: Tensor = peer.model(_resize(x, (FACE_SIZE, FACE_SIZE)), **arguments)[0]
    return out


def restore_any(peer: Any, x: Tensor) -> Tensor:
    """Run any other network by spandrel's call, which takes and gives [0, 1]."""
    out: Tensor = peer(((x + 1) / 2).clamp(0, 1)) * 2 - 1
    return out


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode='bicubic', align_corners=False, antialias=True)


def load_peer(weights: str) -> Any:
    """Return spandrel's description of the network in a file, in evaluation mode.

    Raises:
        UsageError: spandrel is not installed, or the file is missing, damaged, or of a network it does not know.
    """
    try:
        import spandrel
    except ImportError as error:
        raise UsageError('SpandrelNet needs the package spandrel; `pip install "mmrbgan[baselines]"`') from error
    _install_extra_architectures(spandrel)
    try:
        return spandrel.ModelLoader().load_from_file(weights).eval()
    except FileNotFoundError as error:
        raise UsageError(f'network_g.weights: no such file: {weights}; fetch it from its authors') from error
    except Exception as error:  # damaged files fail in many ways, unknown networks in spandrel's own
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise UsageError(f'network_g.weights: {weights} is not a network for spandrel ({reason[:200]})') from error


def _install_extra_architectures(spandrel: Any) -> None:
    try:
        import spandrel_extra_arches
    except ImportError:
        return
    spandrel_extra_arches.install(ignore_duplicates=True)
