"""The generator's loss as a list of small terms, and the discriminators' losses (paper 3.3, Eq. 11-16)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import roi_align

from mmrbgan_data.components import COMPONENTS, Component, crop_size

from .options import IdentityTerm, PerceptualTerm, Term, TrainOptions
from .random_views import random_views


@dataclass
class Step:
    """What one training step computes on: everything (b, ...), images RGB in [-1, 1]."""

    iteration: int
    lq: Tensor
    gt: Tensor
    component_boxes: Tensor
    """(b, k, 4): x1, y1, x2, y2 in pixels of gt, in the order of COMPONENTS."""
    component_mask: Tensor
    """(b, k): whether the face has that component's box."""
    output: Tensor
    pyramid: list[Tensor]
    number: int = 0
    """The iteration itself; ``iteration`` is its place in the schedule, which ``train.time_limit`` may hurry."""

    @cached_property
    def output_crops(self) -> dict[str, Tensor]:
        """The components of the restored faces, with gradient."""
        return crop_components(self.output, self.component_boxes)

    @cached_property
    def gt_crops(self) -> dict[str, Tensor]:
        """The components of the true faces."""
        return crop_components(self.gt, self.component_boxes)

    def mask(self, component: Component) -> Tensor:
        """(b,): 1 where the face has the component, else 0."""
        return self.component_mask[:, COMPONENTS.index(component)].to(self.gt.dtype)


def crop_components(images: Tensor, boxes: Tensor) -> dict[str, Tensor]:
    """Cut every component out by RoI-align.

    Args:
        images: (b, 3, s, s).
        boxes: (b, k, 4), pixels; a row of zeros gives a crop that the caller's mask leaves out.

    Returns:
        By component name, (b, 3, c, c) with c of ``crop_size``.
    """
    index = torch.arange(images.shape[0], device=images.device, dtype=images.dtype)[:, None]
    crops = {}
    for i, component in enumerate(COMPONENTS):
        rois = torch.cat([index, boxes[:, i].to(images.dtype)], dim=1)  # (b, 5)
        side = crop_size(component, images.shape[-1])
        crops[component.name] = roi_align(images, rois, side, sampling_ratio=2, aligned=True)
    return crops


@dataclass(frozen=True)
class GeneratorTerm:
    """A named, weighted term of the generator's loss."""

    name: str
    options: Term
    compute: Callable[[Step], Tensor]


def sum_terms(terms: list[GeneratorTerm], step: Step, log: dict[str, Tensor]) -> Tensor:
    """Eq. 16: the weighted sum of the active terms; each goes to ``log`` as ``l_g_NAME``, weighted."""
    total = step.gt.new_zeros(())
    for term in terms:
        if term.options.active(step.iteration):
            value = term.options.loss_weight * term.compute(step)
            log[f'l_g_{term.name}'] = value.detach()
            total = total + value
    return total


def pixel_loss(step: Step) -> Tensor:
    """Eq. 14, first half: L1 between restored and true face."""
    return F.l1_loss(step.output, step.gt)


def pyramid_loss(step: Step) -> Tensor:
    """L1 between the decoder's RGB maps and the true face at each scale, summed over the scales."""
    return sum(
        (F.l1_loss(image, shrink(step.gt, image.shape[-1])) for image in step.pyramid), start=step.gt.new_zeros(())
    )


def shrink(images: Tensor, size: int) -> Tensor:
    """(b, 3, s, s) -> (b, 3, size, size) by area; s is a multiple of size."""
    return images if images.shape[-1] == size else F.adaptive_avg_pool2d(images, size)


def perceptual_loss(features: nn.Module) -> Callable[[Step], Tensor]:
    """Eq. 14, second half: the norms of the features' differences, summed over the layers; the norm is not squared.

    Each layer contributes its root mean square, so that neither its size nor its width sets its weight.
    """

    def compute(step: Step) -> Tensor:
        with torch.no_grad():
            wanted = features(step.gt)
        pairs = zip(features(step.output), wanted, strict=True)
        return sum((root_mean_square(have - want) for have, want in pairs), start=step.gt.new_zeros(()))

    return compute


def root_mean_square(x: Tensor) -> Tensor:
    """Mean over b of the root of the mean square of (b, ...); its gradient at zero is zero."""
    x = x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
    out: Tensor = torch.linalg.vector_norm(x, dim=1).mean() / math.sqrt(x.shape[1])
    return out


def identity_loss(recogniser: nn.Module, augment: bool = False) -> Callable[[Step], Tensor]:
    """Eq. 15: L1 between the recogniser's features of restored and true face; ``augment`` changes both alike first."""

    def compute(step: Step) -> Tensor:
        output, gt = random_views(step.output, step.gt) if augment else (step.output, step.gt)
        with torch.no_grad():
            wanted = recogniser(gt)
        return F.l1_loss(recogniser(output), wanted)

    return compute


def adversarial_loss(discriminator: nn.Module) -> Callable[[Step], Tensor]:
    """Eq. 11, generator's side, non-saturating: softplus(-D(restored))."""
    return lambda step: F.softplus(-discriminator(step.output)).mean()


def component_loss(discriminators: Mapping[str, nn.Module]) -> Callable[[Step], Tensor]:
    """Eq. 12, generator's side: cross-entropy of each restored component against 'real', summed over the components."""

    def compute(step: Step) -> Tensor:
        total = step.gt.new_zeros(())
        for component in COMPONENTS:
            logits = discriminators[component.name](step.output_crops[component.name])
            total = total + masked_cross_entropy(logits, True, step.mask(component))
        return total

    return compute


def masked_cross_entropy(logits: Tensor, is_real: bool, mask: Tensor) -> Tensor:
    """Cross-entropy of maps (b, 1, h, w) against one label; faces with mask 0 add nothing.

    The mean is over all b faces, so that the sum over processes does not depend on which of them holds which face.
    """
    per_pixel = F.softplus(-logits if is_real else logits)
    return (per_pixel.mean(dim=(1, 2, 3)) * mask).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Eq. 11, discriminator's side: softplus(-D(true)) + softplus(D(restored))."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def gradient_penalty(real: Tensor, images: Tensor) -> Tensor:
    """R1 (Mescheder et al., 2018): half the mean squared norm of dD(true) / d(true)."""
    (gradient,) = torch.autograd.grad(real.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2


@dataclass(frozen=True)
class Sources:
    """The networks that terms need."""

    features: Callable[[PerceptualTerm], nn.Module]
    recogniser: Callable[[IdentityTerm], nn.Module]
    discriminator: Any
    component_nets: Mapping[str, nn.Module]


TERMS: dict[str, tuple[str, Callable[[Any, Sources], Callable[[Step], Tensor]]]] = {
    'pixel_opt': ('pix', lambda _, __: pixel_loss),
    'pyramid_opt': ('pyramid', lambda _, __: pyramid_loss),
    'perceptual_opt': ('percep', lambda options, sources: perceptual_loss(sources.features(options))),
    'identity_opt': (
        'identity',
        lambda options, sources: identity_loss(sources.recogniser(options), options.augment),
    ),
    'gan_opt': ('gan', lambda _, sources: adversarial_loss(sources.discriminator)),
    'component_opt': ('component', lambda _, sources: component_loss(sources.component_nets)),
}
"""Field of ``TrainOptions`` -> its name in logs, and what builds it from the field's value and the networks."""


def build_terms(settings: TrainOptions, sources: Sources) -> list[GeneratorTerm]:
    """Return the terms that are on, in the order of the fields."""
    chosen = {name: (*TERMS[name], options) for name, options in settings.generator_terms().items()}
    return [GeneratorTerm(label, options, build(options, sources)) for label, build, options in chosen.values()]
