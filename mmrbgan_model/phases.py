"""The training step as a list of phases, run by the same lines: the generator, the global and the local discriminators.

A phase is an optimizer and the loss it minimises; the loss is None in iterations where the phase is off.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmrbgan_data.components import Component

from .loss_terms import GeneratorTerm, Step, discriminator_loss, gradient_penalty, masked_cross_entropy, sum_terms
from .options import R1Term, Term

Loss = Callable[[Step, dict[str, Tensor]], Tensor | None]
"""A step -> the loss; what goes into the log is added to the dict."""


@dataclass(frozen=True)
class Phase:
    """One optimizer's part of a step."""

    name: str
    optimizer: torch.optim.Optimizer
    loss: Loss
    fixed: Sequence[nn.Module] = ()
    """Networks that pass gradients on without getting any."""

    def backward(self, step: Step, scaler: Any, parts: int) -> dict[str, Tensor]:
        """Add the gradients of one of ``parts`` equal parts of a batch; return what goes into the log."""
        found: dict[str, Tensor] = {}
        with no_gradient_for(self.fixed):
            loss = self.loss(step, found)
            if loss is not None:
                scaler.scale(loss / parts).backward()
        return {name: value.detach() / parts for name, value in found.items()}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Everything its optimizer steps."""
        return [parameter for group in self.optimizer.param_groups for parameter in group['params']]


def generator(terms: list[GeneratorTerm]) -> Loss:
    """Minimise Eq. 16."""
    return lambda step, found: sum_terms(terms, step, found)


def discriminator(
    network: nn.Module, gan: Term, r1: R1Term | None, float32: Callable[[], AbstractContextManager[Any]]
) -> Loss:
    """Maximise logits of true faces, minimise those of restored ones (Eq. 11); R1 at its interval, in ``float32``."""

    def loss(step: Step, found: dict[str, Tensor]) -> Tensor | None:
        if not gan.active(step.iteration):
            return None
        penalised = r1 is not None and r1.active(step.iteration) and step.number % r1.interval == 0
        gt = step.gt.detach().requires_grad_(penalised)
        with float32() if penalised else nullcontext():
            real = network(gt)
        fake = network(step.output.detach())
        total = discriminator_loss(real, fake)
        found |= {'l_d': total, 'out_d_real': real.mean(), 'out_d_fake': fake.mean()}
        if r1 is not None and penalised:
            found['l_d_r1'] = gradient_penalty(real, gt)
            total = total + r1.loss_weight * r1.interval * found['l_d_r1']
        return total

    return loss


def component_discriminator(network: nn.Module, component: Component, options: Term) -> Loss:
    """Tell a true component from a restored one (Eq. 12)."""

    def loss(step: Step, found: dict[str, Tensor]) -> Tensor | None:
        if not options.active(step.iteration):
            return None
        mask = step.mask(component)
        real = network(step.gt_crops[component.name])
        fake = network(step.output_crops[component.name].detach())
        total = masked_cross_entropy(real, True, mask) + masked_cross_entropy(fake, False, mask)
        found[f'l_d_{component.name}'] = total
        return total

    return loss


@contextmanager
def no_gradient_for(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Keep the trainable parameters of ``networks`` out of the graph inside the block; frozen ones stay frozen."""
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
