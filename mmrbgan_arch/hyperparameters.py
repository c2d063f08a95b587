"""Infers from the tensors of a state dict which network they belong to and the options it was built with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .discriminator_arch import MMRBGANComponentDiscriminator, MMRBGANDiscriminator
from .identity_arch import MMRBGANArcFace, MMRBGANMobileFaceNet
from .mmrbgan_arch import BASE_WIDTHS, MMRBGAN, SCALED_WIDTHS, channel_widths

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Kind:
    """One network: the keys that only its state dicts have, and how its options are read from the shapes."""

    network: type[nn.Module]
    marks: tuple[str, ...]
    options: Callable[[State], dict[str, Any]]


def count_layers(state: State, pattern: str, start: int = 0) -> int:
    """Return how many of ``pattern`` formatted with start, start + 1, ... are keys of ``state``, without a gap."""
    count = 0
    while pattern.format(start + count) in state:
        count += 1
    return count


def width_options(widths: dict[int, int]) -> dict[str, Any]:
    """Find the options that give these widths by resolution (4 up to the image's size).

    ``channel_multiplier`` acts from 64 px up only; below, any would do, and the default is returned.

    Raises:
        ValueError: no options give these widths.
    """
    narrow = widths[4] / BASE_WIDTHS[4]
    multiplier = max(1, round(widths[64] / (SCALED_WIDTHS[64] * narrow))) if 64 in widths else 2
    options: dict[str, Any] = {'out_size': max(widths), 'channel_multiplier': multiplier, 'narrow': narrow}
    if channel_widths(**options) != widths:
        raise ValueError(f'no channel_multiplier and narrow give the widths {widths} by resolution')
    return options


def generator_options(state: State) -> dict[str, Any]:
    """Options of ``MMRBGAN``; initial values do not matter once weights are loaded."""
    halvings = count_layers(state, 'encoder.downs.{}.conv.weight')
    size = 4 * 2**halvings
    widths = {size: state['encoder.stem.conv.weight'].shape[0]}
    for i in range(halvings):
        widths[size >> (i + 1)] = state[f'encoder.downs.{i}.conv.weight'].shape[0]
    return width_options(widths) | {
        'style_dim': state['encoder.to_latent.weight'].shape[0],
        'num_mlp': count_layers(state, 'prior.mapping.{}.weight'),
        'use_mmrb': 'encoder.blocks.0.fuse.weight' in state or halvings < 2,
    }


def discriminator_options(state: State) -> dict[str, Any]:
    """Options of ``MMRBGANDiscriminator``; weights do not tell which layers were frozen, so none are."""
    halvings = count_layers(state, 'layers.{}.skip.conv.weight', start=1)
    size = 4 * 2**halvings
    widths = {size: state['layers.0.conv.weight'].shape[0]}
    for i in range(1, halvings + 1):
        widths[size >> i] = state[f'layers.{i}.skip.conv.weight'].shape[0]
    return width_options(widths) | {'freeze_layers': 0}


def component_options(state: State) -> dict[str, Any]:
    """Options of ``MMRBGANComponentDiscriminator``."""
    return {'num_feat': state['layers.0.conv.weight'].shape[0]}


def arcface_options(state: State) -> dict[str, Any]:
    """Options of ``MMRBGANArcFace``."""
    return {'layers': tuple(count_layers(state, f'layer{stage}.{{}}.conv1.weight') for stage in (1, 2, 3, 4))}


KINDS = (
    Kind(MMRBGAN, ('encoder.stem.conv.weight', 'encoder.to_latent.weight', 'prior.constant'), generator_options),
    Kind(MMRBGANDiscriminator, ('layers.0.conv.weight', 'layers.1.skip.conv.weight'), discriminator_options),
    Kind(MMRBGANComponentDiscriminator, ('layers.0.conv.weight', 'layers.5.conv.weight', 'bias'), component_options),
    Kind(MMRBGANArcFace, ('layer4.0.bn0.weight', 'fc5.weight'), arcface_options),
    Kind(MMRBGANMobileFaceNet, ('gdconv.depthwise.weight', 'conv3.weight'), lambda state: {}),
)


def find_kind(state: State) -> Kind | None:
    """Return the kind of network ``state`` belongs to, or None."""
    return next((kind for kind in KINDS if all(mark in state for mark in kind.marks)), None)


def describe(network: nn.Module) -> str:
    """One line with the network's type and the options that build it, as they stand in an option file."""
    state = network.state_dict()
    kind = find_kind(state)
    assert kind is not None, f'{type(network).__name__} is not a network of this package'
    options = {'type': kind.network.__name__} | kind.options(state)
    return f'{{{", ".join(f"{key}: {_yaml(value)}" for key, value in options.items())}}}'


def _yaml(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value).lower() if not isinstance(value, str) else value
