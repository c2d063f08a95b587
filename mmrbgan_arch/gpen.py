"""Fills the generator and the discriminator from GPEN's published checkpoints (the paper's starting point, 4.2).

A GPEN file is a plain state dict: ``ecd0 ..`` (encoder), ``final_linear`` (latent), ``generator.*`` (StyleGAN2 whose
noise branches are concatenated); the discriminator has ``convs.*``, ``final_conv.*``, ``final_linear.*``. Files of a
training run keep these under ``g_ema``, ``g`` and ``d``. All sizes are read from the shapes. What GPEN does not have
(MMRBs, up-convolutions, pyramid) starts so that the filled network computes exactly what GPEN computes.
"""

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .discriminator_arch import MMRBGANDiscriminator
from .hyperparameters import State, count_layers, width_options
from .layers import BinomialFilter
from .mmrbgan_arch import MMRBGAN
from .support.errors import UsageError
from .weights_io import check_fit, is_plain, read_file, some

Network = TypeVar('Network', bound=nn.Module)


def convert_generator(path: str | os.PathLike[str], use_mmrb: bool = True) -> MMRBGAN:
    """Build ``MMRBGAN`` from a GPEN generator; its output equals GPEN's.

    Args:
        path: GPEN's file, or a training run's with ``g_ema`` or ``g``.
        use_mmrb: False leaves the MMRBs out (Table 5, 'w/o MMRB').

    Raises:
        UsageError: the file is unreadable or holds another network; the keys that did not fit are named.
    """
    state = _read(path, ('g_ema', 'g'), 'generator')
    halvings, options = _read_options(state, 'ecd0.0.0.weight', 'ecd{}.0.1.weight', path)
    latent = state.get('final_linear.0.bias')
    options['style_dim'] = latent.numel() if latent is not None else 512
    options['num_mlp'] = count_layers(state, 'generator.style.{}.weight', start=1)
    network = _build(MMRBGAN, path, **options, use_mmrb=use_mmrb)
    _fill(network, state, generator_keys(halvings, options['num_mlp']), path)
    return network


def convert_discriminator(path: str | os.PathLike[str]) -> MMRBGANDiscriminator:
    """Build ``MMRBGANDiscriminator`` (nothing frozen) from a GPEN discriminator; its output equals GPEN's.

    Args:
        path: GPEN's file, or a training run's with ``d``.

    Raises:
        UsageError: as for the generator.
    """
    state = _read(path, ('d',), 'discriminator')
    halvings, options = _read_options(state, 'convs.0.0.weight', 'convs.{}.skip.1.weight', path)
    network = _build(MMRBGANDiscriminator, path, **options, freeze_layers=0)
    _fill(network, state, discriminator_keys(halvings), path)
    return network


def generator_keys(halvings: int, num_mlp: int) -> dict[str, str]:
    """Our key -> GPEN's, for an image of 4 * 2**halvings px; the fresh parts have none."""
    keys = {'prior.constant': 'generator.input.input'} | _conv('encoder.stem', 'ecd0.0')
    for i in range(halvings):
        keys |= _conv(f'encoder.downs.{i}', f'ecd{i + 1}.0', down=True)
    keys |= _linear('encoder.to_latent', 'final_linear.0')
    for i in range(num_mlp):
        keys |= _linear(f'prior.mapping.{i}', f'generator.style.{i + 1}')
    keys |= _style('prior.blocks.0', 'generator.conv1') | _modulated('prior.to_rgbs.0', 'generator.to_rgb1')
    for i in range(2 * halvings):
        keys |= _style(f'prior.blocks.{i + 1}', f'generator.convs.{i}')
    for i in range(halvings):
        keys |= _modulated(f'prior.to_rgbs.{i + 1}', f'generator.to_rgbs.{i}')
    return keys


def discriminator_keys(halvings: int) -> dict[str, str]:
    """Our key -> GPEN's, for an image of 4 * 2**halvings px."""
    keys = _conv('layers.0', 'convs.0')
    for i in range(1, halvings + 1):
        keys |= _conv(f'layers.{i}.conv1', f'convs.{i}.conv1') | _conv(f'layers.{i}.conv2', f'convs.{i}.conv2', True)
        keys |= {f'layers.{i}.skip.conv.weight': f'convs.{i}.skip.1.weight'}
    return (
        keys
        | _conv('final_conv', 'final_conv')
        | _linear('hidden', 'final_linear.0')
        | _linear('logit', 'final_linear.1')
    )


def _conv(ours: str, theirs: str, down: bool = False) -> dict[str, str]:
    """A sequence of (blur,) convolution, activation."""
    first = int(down)
    return {f'{ours}.conv.weight': f'{theirs}.{first}.weight', f'{ours}.bias': f'{theirs}.{first + 1}.bias'}


def _linear(ours: str, theirs: str) -> dict[str, str]:
    return {f'{ours}.{name}': f'{theirs}.{name}' for name in ('weight', 'bias')}


def _modulated(ours: str, theirs: str, bias: str = 'bias') -> dict[str, str]:
    names = ('conv.weight', 'conv.modulation.weight', 'conv.modulation.bias')
    return {f'{ours}.{name}': f'{theirs}.{name}' for name in names} | {f'{ours}.bias': f'{theirs}.{bias}'}


def _style(ours: str, theirs: str) -> dict[str, str]:
    return _modulated(ours, theirs, 'activate.bias') | {f'{ours}.noise_weight': f'{theirs}.noise.weight'}


def _read(path: str | os.PathLike[str], entries: tuple[str, ...], role: str) -> dict[str, Tensor]:
    """The state dict of ``role`` in the file, without DDP's prefix and without the fixed blur kernels."""
    content: Mapping[str, Any] = read_file(path)
    entry = next((entry for entry in entries if isinstance(content.get(entry), Mapping)), None)
    content = content if entry is None else content[entry]
    state = {str(key).removeprefix('module.'): value for key, value in content.items()}
    if not all(is_plain(value) for value in state.values()):
        raise UsageError(f'{path}: no GPEN {role}: expected plain tensors under {some(list(state))}')
    _check_filters(state, path)
    return {key: value for key, value in state.items() if not key.endswith('.kernel')}


def _read_options(state: State, stem: str, down: str, path: str | os.PathLike[str]) -> tuple[int, dict[str, Any]]:
    """Number of halvings and the width options, from the first convolution and those that halve."""
    if stem not in state or down.format(1) not in state:
        raise UsageError(f'{path}: no GPEN file of this kind: {stem} is missing; its keys: {some(list(state))}')
    halvings = count_layers(state, down, start=1)
    try:
        widths = {4 << halvings: state[stem].shape[0]}
        widths |= {4 << (halvings - i): state[down.format(i)].shape[0] for i in range(1, halvings + 1)}
        return halvings, width_options(widths)
    except (ValueError, IndexError) as error:  # IndexError: a number where a layer's weight should be
        raise UsageError(f'{path}: {error}') from error


def _build(network: type[Network], path: str | os.PathLike[str], **options: Any) -> Network:
    """Build with random weights that are the same every time, so that a file always converts to the same bytes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            return network(**options)
        except ValueError as error:
            raise UsageError(f'{path}: {error}') from error


def _fill(network: nn.Module, state: State, keys: dict[str, str], path: str | os.PathLike[str]) -> None:
    """Load GPEN's tensors under our keys; the fresh parts keep their start."""
    fresh = network.state_dict()
    expected = {theirs: fresh[ours] for ours, theirs in keys.items()}
    state = {key: _without_ones(value, expected.get(key)) for key, value in state.items()}
    check_fit(expected, state, f'{path}: this GPEN file does not fit {type(network).__name__}')
    network.load_state_dict({ours: state[theirs] for ours, theirs in keys.items()}, strict=False)


def _without_ones(value: Tensor, like: Tensor | None) -> Tensor:
    """GPEN's leading 1 of modulated weights and the 1s around its RGB biases, taken off to the shape of ``like``."""
    if like is None or [n for n in value.shape if n != 1] != [n for n in like.shape if n != 1]:
        return value
    return value.reshape(like.shape)


def _check_filters(state: State, path: str | os.PathLike[str]) -> None:
    """The blur kernels lie in GPEN's files, but ours are fixed: they must agree."""
    kernel = BinomialFilter().kernel
    for key, value in state.items():
        if key.endswith('.kernel') and not _is_filter(value, kernel):
            raise UsageError(f'{path}: {key} is not the filter [1, 3, 3, 1], the only one known here')


def _is_filter(value: Tensor, kernel: Tensor) -> bool:
    return value.shape == kernel.shape and torch.allclose(value.float() / value.float().sum(), kernel, atol=1e-6)
