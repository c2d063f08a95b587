"""Other people's restorers in our option files: what spandrel loads (GFPGAN, RestoreFormer, CodeFormer, ...).

spandrel tells the architecture from the weights and reads them safely. CodeFormer's licence is restricted, so it comes
with the package spandrel_extra_arches. Install both with the extra ``baselines``.
"""

from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .basicsr_bridge import register_arch
from .errors import UsageError


@register_arch
class SpandrelNet(nn.Module):
    """A restorer of another project: (b, 3, h, w) RGB in [-1, 1] -> the same.

    The file is read at the first picture, so that building is free of file access.
    """

    def __init__(self, weights: str) -> None:
        """Args: weights: path of the published file, such as GFPGANv1.4.pth."""
        super().__init__()
        self.weights = weights
        self.peer: Any = None

    def forward(self, x: Tensor) -> Tensor:
        """Scale to the size the network wants, restore, scale back."""
        if self.peer is None:
            self.peer = load_peer(self.weights)
        peer = self.peer.to(x.device)
        size, wanted = x.shape[-2:], _input_size(peer)
        unit = (x.float() + 1) / 2
        if wanted is not None and tuple(size) != (wanted, wanted):
            unit = F.interpolate(unit, (wanted, wanted), mode='bicubic', align_corners=False, antialias=True)
        restored = peer(unit.clamp(0, 1))
        if restored.shape[-2:] != size:
            restored = F.interpolate(restored, size, mode='bicubic', align_corners=False, antialias=True)
        return restored.clamp(0, 1) * 2 - 1


def load_peer(weights: str) -> Any:
    """Return spandrel's description of the network in a file, in evaluation mode.

    Raises:
        UsageError: spandrel is not installed, or the file is missing, damaged or of no network it knows.
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
        raise UsageError(f'network_g.weights: {weights} is no network that spandrel loads ({reason[:200]})') from error


def _install_extra_architectures(spandrel: Any) -> None:
    try:
        import spandrel_extra_arches
    except ImportError:
        return
    spandrel_extra_arches.install(ignore_duplicates=True)


def _input_size(peer: Any) -> int | None:
    """The one size a face restorer takes, None where any will do."""
    requirements = getattr(peer, 'size_requirements', None)
    minimum, multiple = getattr(requirements, 'minimum', 0), getattr(requirements, 'multiple_of', 1)
    return max(minimum, multiple) if getattr(requirements, 'square', False) else None
