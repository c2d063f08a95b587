"""Lets spandrel's ``ModelLoader`` (ComfyUI, chaiNNer) load our .pth and .safetensors: call ``register()`` once.

Images are single aligned faces (1, 3, h, w) RGB in [0, 1] of any size; they are scaled to the network's size and back.
"""

import torch.nn.functional as F  # noqa: N812
from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor, SizeRequirements, StateDict
from spandrel.util import KeyCondition
from torch import Tensor

from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.hyperparameters import KINDS
from mmrbgan_arch.weights_io import network_of

MARKS = next(kind.marks for kind in KINDS if kind.network is MMRBGAN)


class MMRBGANArchitecture(Architecture[MMRBGAN]):  # type: ignore[misc]
    """Recognises the generator by its keys and reads its options from the tensors' shapes."""

    def __init__(self) -> None:
        super().__init__(id='MMRBGAN', detect=KeyCondition.has_all(*MARKS))

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[MMRBGAN]:
        """Build and fill the network.

        Raises:
            UsageError: the weights do not fit any of our options.
        """
        network = network_of(state_dict, 'MMRBGAN')
        assert isinstance(network, MMRBGAN)
        return ImageModelDescriptor(
            network,
            state_dict,
            architecture=self,
            purpose='FaceSR',
            tags=[f'{network.out_size}px'],
            supports_half=False,
            supports_bfloat16=True,
            scale=1,
            input_channels=3,
            output_channels=3,
            size_requirements=SizeRequirements(square=True),
            call_fn=restore_unit,
        )


def restore_unit(network: MMRBGAN, image: Tensor) -> Tensor:
    """(b, 3, s, s) RGB in [0, 1] -> the same, whatever the network's size."""
    size, wanted = image.shape[-1], network.out_size
    restored = network(_resize(image, wanted) * 2 - 1) / 2 + 0.5
    return _resize(restored, size)


def register() -> None:
    """Add our architecture to spandrel's main registry; calling it again does nothing."""
    MAIN_REGISTRY.add(ArchSupport.from_architecture(MMRBGANArchitecture()), ignore_duplicates=True)


def _resize(image: Tensor, size: int) -> Tensor:
    if image.shape[-1] == size:
        return image
    return F.interpolate(image, (size, size), mode='bicubic', align_corners=False, antialias=True)
