"""Fixed ImageNet networks whose features the perceptual loss compares (paper Eq. 14); torchvision's, by name."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, vgg19
from torchvision.models.feature_extraction import create_feature_extractor

from mmrbgan_arch.identity_arch import IMAGENET_MEAN, IMAGENET_STD
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.public_weights import FILES, find_weights
from mmrbgan_arch.weights_io import fill, read_state

from .options import PerceptualTerm

VGG_BLOCKS = (2, 2, 4, 4, 4)


def _vgg_nodes() -> dict[str, str]:
    """Node of every convolution ('conv1_1' ... 'conv5_4') in torchvision's ``vgg19``, before its ReLU."""
    nodes, position = {}, 0
    for block, count in enumerate(VGG_BLOCKS, start=1):
        for i in range(1, count + 1):
            nodes[f'conv{block}_{i}'] = f'features.{position}'
            position += 2  # convolution, ReLU
        position += 1  # pooling
    return nodes


@dataclass(frozen=True)
class Source:
    """One network of torchvision; its weights are those of the same name in ``public_weights``."""

    build: Callable[[], nn.Module]
    nodes: dict[str, str]
    """Layer's name in the options -> node of the network."""
    layers: tuple[str, ...]
    """The layers that are compared unless others are named."""


SOURCES = {
    'vgg19': Source(
        lambda: vgg19(weights=None),
        _vgg_nodes(),
        ('conv1_2', 'conv2_2', 'conv3_4', 'conv4_4', 'conv5_4'),
    ),
    'mobilenet_v2': Source(
        lambda: mobilenet_v2(weights=None),
        {f'block{i}': f'features.{i}' for i in range(1, 18)},
        ('block1', 'block3', 'block6', 'block13'),  # the last of 1/2, 1/4, 1/8 and 1/16 of the size
    ),
}


class FeatureMaps(nn.Module):
    """Images (b, 3, h, w) RGB in [-1, 1] -> the chosen layers' maps, shallow to deep; fixed weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: str, layers: tuple[str, ...] = ()) -> None:
        """Create the network up to the last chosen layer, with random weights.

        Args:
            network: a key of ``SOURCES``.
            layers: keys of its ``nodes``; by default its own choice.

        Raises:
            ValueError: an unknown layer.
        """
        super().__init__()
        source = SOURCES[network]
        unknown = [name for name in layers if name not in source.nodes]
        if unknown:
            raise ValueError(f'layers: {unknown}; {network} has {", ".join(source.nodes)}')
        built = source.build().eval()
        for part in built.modules():
            if isinstance(part, nn.ReLU | nn.ReLU6):
                part.inplace = False
        chosen = [name for name in source.nodes if name in (layers or source.layers)]
        self.network = create_feature_extractor(built, {source.nodes[name]: name for name in chosen})
        self.register_buffer('mean', torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> 'FeatureMaps':
        """Stay in evaluation mode, so that batch norms are fixed."""
        return super().train(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """One map per chosen layer, shallow to deep."""
        return list(self.network(((x + 1) / 2 - self.mean) / self.std).values())


def build_feature_maps(options: PerceptualTerm) -> FeatureMaps:
    """The network with weights from the option's path, this machine, or torchvision's address.

    Raises:
        UsageError: the file cannot be had or holds something else; the line names the option that turns the term off.
    """
    way_out = 'remove train.perceptual_opt to train without this term'
    path = find_weights(FILES[options.network], options.weights, 'train.perceptual_opt.weights', way_out)
    maps = FeatureMaps(options.network, options.layers)
    try:
        state, wanted = read_state(path), maps.network.state_dict()  # a part of torchvision's
        fill(maps.network, {key: value for key, value in state.items() if key in wanted}, str(path))
    except UsageError as error:
        raise UsageError(
            f"train.perceptual_opt.weights: {error}; name torchvision's {options.network}, or {way_out}"
        ) from error
    return maps
