"""VGG-19's features for the perceptual loss (paper Eq. 14); torchvision's network with torchvision's weights."""

import torch
from torch import Tensor, nn
from torchvision.models import vgg19

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.public_weights import FILES, find_weights
from mmrbgan_arch.weights_io import fill, read_state

from .options import PerceptualTerm

BLOCKS = (2, 2, 4, 4, 4)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def layer_indices() -> dict[str, int]:
    """Index of every convolution ('conv1_1' ... 'conv5_4') in torchvision's ``vgg19().features``."""
    indices, position = {}, 0
    for block, count in enumerate(BLOCKS, start=1):
        for i in range(1, count + 1):
            indices[f'conv{block}_{i}'] = position
            position += 2  # convolution, ReLU
        position += 1  # pooling
    return indices


class VGGFeatures(nn.Module):
    """Images (b, 3, h, w) RGB in [-1, 1] -> the chosen layers' maps, before their ReLU; fixed weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, layers: tuple[str, ...]) -> None:
        """Create the network up to the last chosen layer, with random weights.

        Raises:
            ValueError: an unknown layer.
        """
        super().__init__()
        indices = layer_indices()
        unknown = [name for name in layers if name not in indices]
        if unknown or not layers:
            raise ValueError(f'layers: {unknown or "none given"}; choose from {", ".join(indices)}')
        self.wanted = {indices[name] for name in layers}
        self.features = vgg19(weights=None).features[: max(self.wanted) + 1]
        for part in self.features:
            if isinstance(part, nn.ReLU):
                part.inplace = False
        self.register_buffer('mean', torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """One map per chosen layer, shallow to deep."""
        x = ((x + 1) / 2 - self.mean) / self.std
        maps = []
        for i, part in enumerate(self.features):
            x = part(x)
            if i in self.wanted:
                maps.append(x)
        return maps


def build_vgg_features(options: PerceptualTerm) -> VGGFeatures:
    """The network with weights from the option's path, the cache, or torchvision's address.

    Raises:
        UsageError: the file cannot be had or holds something else; the line names the option that turns the term off.
    """
    way_out = 'remove train.perceptual_opt to train without this term'
    path = find_weights(FILES['vgg19'], options.weights, 'train.perceptual_opt.weights', way_out)
    network = VGGFeatures(options.layers)
    try:
        state = read_state(path)
        wanted = network.state_dict()  # a part of torchvision's
        fill(network, {key: value for key, value in state.items() if key in wanted}, str(path))
    except UsageError as error:
        raise UsageError(f"train.perceptual_opt.weights: {error}; name torchvision's VGG-19, or {way_out}") from error
    return network
