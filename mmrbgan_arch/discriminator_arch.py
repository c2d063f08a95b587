"""Global discriminator with FreezeD (paper 3.3, Eq. 11) and local discriminators for eyes and mouth (Eq. 12)."""

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from .basicsr_bridge import register_arch
from .layers import ConvLayer, EqualizedLinear, minibatch_stddev
from .mmrbgan_arch import channel_widths
from .support.ranges import Multiplier, Narrow, Range, Side


class ResidualBlock(nn.Module):
    """StyleGAN2's discriminator block: two 3x3 convolutions, the second halving, and a 1x1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Args: in_channels, out_channels: before and after the halving."""
        super().__init__()
        self.conv1 = ConvLayer(in_channels, in_channels, 3)
        self.conv2 = ConvLayer(in_channels, out_channels, 3, down=True)
        self.skip = ConvLayer(in_channels, out_channels, 1, down=True, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, h/2, w/2)."""
        out: Tensor = (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)
        return out


def freeze(module: nn.Module) -> None:
    """Turn every parameter below ``module`` into a buffer of the same name.

    No optimizer, EMA or ``requires_grad_`` toggle can reach a buffer, autograd computes no gradient for it, and the
    state dict keeps its keys, so weights load as before.
    """
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            del part._parameters[name]
            part.register_buffer(name, parameter.detach())


@register_arch
class MMRBGANDiscriminator(nn.Module):
    """StyleGAN2's residual discriminator on whole faces, (b, 3, s, s) in [-1, 1] -> logits (b, 1).

    FreezeD (Mo et al., 2020): the first ``freeze_layers`` of stem and residual blocks, from the image side, are frozen.
    """

    def __init__(
        self,
        out_size: Side = 512,
        channel_multiplier: Multiplier = 2,
        narrow: Narrow = 1.0,
        freeze_layers: Annotated[int, Range(0, 10)] = 5,
    ) -> None:
        """Create the network.

        Args:
            out_size: side of the image in pixels.
            channel_multiplier: as the generator's.
            narrow: as the generator's.
            freeze_layers: how many of [stem, block, block, ...] never change; 0 freezes none.

        Raises:
            ValueError: more frozen layers than there are.
        """
        super().__init__()
        channels = channel_widths(out_size, channel_multiplier, narrow)
        sizes = [2**i for i in range(int(math.log2(out_size)), 2, -1)]
        blocks = [ResidualBlock(channels[size], channels[size // 2]) for size in sizes]
        self.layers = nn.ModuleList([ConvLayer(3, channels[out_size], 1), *blocks])
        self.final_conv = ConvLayer(channels[4] + 1, channels[4], 3)
        self.hidden = EqualizedLinear(channels[4] * 16, channels[4], activate=True)
        self.logit = EqualizedLinear(channels[4], 1)
        if not 0 <= freeze_layers <= len(self.layers):
            raise ValueError(f'freeze_layers must lie in 0..{len(self.layers)}; found {freeze_layers}')
        for layer in self.layers[:freeze_layers]:
            freeze(layer)

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, s, s) -> (b, 1)."""
        for layer in self.layers:
            x = layer(x)
        x = self.final_conv(minibatch_stddev(x))
        out: Tensor = self.logit(self.hidden(x.flatten(1)))
        return out


@register_arch
class MMRBGANComponentDiscriminator(nn.Module):
    """Local discriminator of one facial component: (b, 3, h, w) crops in [-1, 1] -> logits (b, 1, h/4, w/4)."""

    def __init__(self, num_feat: Annotated[int, Range(1, 512)] = 64) -> None:
        """Args: num_feat: width of the first convolution."""
        super().__init__()
        self.layers = nn.Sequential(
            ConvLayer(3, num_feat, 3),
            ConvLayer(num_feat, 2 * num_feat, 3, down=True),
            ConvLayer(2 * num_feat, 2 * num_feat, 3),
            ConvLayer(2 * num_feat, 4 * num_feat, 3, down=True),
            ConvLayer(4 * num_feat, 4 * num_feat, 3),
            ConvLayer(4 * num_feat, 1, 3, activate=False),
        )
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, h, w) -> (b, 1, h/4, w/4)."""
        out: Tensor = self.layers(x) + self.bias
        return out
