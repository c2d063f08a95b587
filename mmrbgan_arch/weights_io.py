"""Reads and writes weights: nothing but tensors is ever loaded, and a file alone says which network it holds.

Understood are BasicSR's layout (``params``, ``params_ema``), plain state dicts, and .safetensors. There is no unsafe
fallback: a file that holds more than tensors and plain containers is refused, and nothing in it is executed.
"""

import json
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .hyperparameters import KINDS, find_kind
from .support.atomic_files import write_atomically, write_bytes
from .support.errors import UsageError, nearest_key

Network = TypeVar('Network', bound=nn.Module)
OLD_BLOCK = re.compile(r'blocks\.\d+\.prelu\.weight$')  # one PReLU after the sum, none in between
GPEN_WAY_OUT = 'looks like a GPEN file; run `mmrbgan convert gpen` first'
SHOWN = 3  # keys named in an error line
SIGNS_OF_CODE = ('Unsupported global', 'TorchScript')  # in torch's own words for what weights_only refuses


def load_network(path: str | os.PathLike[str], key: str | None = None) -> nn.Module:
    """Build the network a file holds, its options read from the tensors' shapes, and load it.

    Args:
        path: .pth or .safetensors of ``MMRBGAN``, ``MMRBGANDiscriminator``, ``MMRBGANComponentDiscriminator``,
            ``MMRBGANArcFace`` or ``MMRBGANMobileFaceNet``.
        key: which entry of the file; by default ``params_ema``, else ``params``, else the file itself.

    Returns:
        The network on the CPU in evaluation mode; a discriminator comes without frozen layers.

    Raises:
        UsageError: no such file, a damaged file, more than tensors in it, or weights of another network.
    """
    network = network_of(read_state(path, key), str(path))
    return network.eval()


def read_network(path: str | os.PathLike[str], name: str) -> nn.Module:
    """Read a file that must hold the network called ``name``.

    Raises:
        UsageError: the file is unreadable or holds another network.
    """
    network = load_network(path)
    if type(network).__name__ != name:
        raise UsageError(f'{path}: holds {type(network).__name__}, not {name}')
    return network


def network_of(state: Mapping[str, Tensor], where: str) -> nn.Module:
    """Build the network that ``state`` belongs to and load ``state`` into it; ``where`` names it in errors.

    Raises:
        UsageError: no network of ours has such weights.
    """
    kind = find_kind(state)
    if kind is None:
        raise UsageError(f'{where}: {_unknown(state)}')
    try:
        network = kind.network(**kind.options(state))
    except (KeyError, ValueError, IndexError) as error:  # IndexError: a number where a layer's weight should be
        raise UsageError(f'{where}: looks like {kind.network.__name__}, but does not fit: {error}') from error
    fill(network, state, where)
    return network


def load_into(network: Network, path: str | os.PathLike[str], key: str | None = None, strict: bool = True) -> Network:
    """Fill ``network`` from a file and return it.

    Args:
        network: of any kind.
        path: .pth or .safetensors.
        key: which entry of the file, if it has that; else ``params_ema``, ``params``, or the file itself.
        strict: False loads what fits by name and shape, and asks for no more than that something does.

    Raises:
        UsageError: no such file, a damaged file, more than tensors in it, or weights of another network.
    """
    content = read_file(path)
    fill(network, pick_state(content, path, key if key in content else None), str(path), strict)
    return network


def fill(network: nn.Module, state: Mapping[str, Tensor], where: str, strict: bool = True) -> None:
    """Load ``state`` into ``network``; every key and shape must fit, but for batch norms' step counters.

    Raises:
        UsageError: what does not fit, in one line that begins with ``where``.
    """
    own = network.state_dict()
    complaint = f'{where}: not weights of this {type(network).__name__}'
    if strict:
        check_fit(own, state, complaint)
    fitting = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    if not fitting:
        raise UsageError(f'{complaint}: nothing in it fits')
    network.load_state_dict(fitting, strict=False, assign=any(value.is_meta for value in own.values()))


def check_fit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], complaint: str) -> None:
    """Compare keys and shapes.

    Raises:
        UsageError: ``complaint`` and what is missing, not known, or of another size.
    """
    missing = [key for key in expected if key not in state and not key.endswith('num_batches_tracked')]
    unknown = [key for key in state if key not in expected]
    other = [
        f'{key} {tuple(state[key].shape)} instead of {tuple(tensor.shape)}'
        for key, tensor in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    faults = {'missing': missing, 'not known': unknown, 'of another size': other}
    if any(faults.values()):
        if looks_like_gpen(state) and not looks_like_gpen(expected):
            raise UsageError(f'{complaint}: it {GPEN_WAY_OUT}')
        if any(OLD_BLOCK.search(key) for key in unknown):
            raise UsageError(f'{complaint}: its MMRBs are those of version 0.1, without PReLU after each convolution')
        lines = '; '.join(f'{what}: {some(keys)}' for what, keys in faults.items() if keys)
        raise UsageError(f'{complaint}: {lines}')


def read_state(path: str | os.PathLike[str], key: str | None = None) -> dict[str, Tensor]:
    """Read one state dict on the CPU, without the prefixes that DDP and torch.compile put before its keys.

    Args:
        path: .pth or .safetensors.
        key: which entry of the file; by default ``params_ema``, else ``params``, else the file itself.

    Raises:
        UsageError: no such file or entry, a damaged file, or more than tensors in it.
    """
    return pick_state(read_file(path), path, key)


def pick_state(content: Mapping[str, Any], path: str | os.PathLike[str], key: str | None = None) -> dict[str, Tensor]:
    """Return one state dict of a file that was read; arguments and errors are those of ``read_state``."""
    if key is not None and key not in content:
        raise UsageError(f'{path}: {nearest_key(key, map(str, content))}')
    key = key or next((name for name in ('params_ema', 'params') if name in content), None)
    state = content if key is None else content[key]
    if not isinstance(state, Mapping) or not all(is_plain(value) for value in state.values()):
        named = [str(name) for name in state] if isinstance(state, Mapping) else [type(state).__name__]
        raise UsageError(f'{path}: expected a state dict of plain tensors, found {some(named)}')
    return {str(name).removeprefix('module.').removeprefix('_orig_mod.'): value for name, value in state.items()}


def read_file(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Read a .pth or .safetensors file on the CPU: tensors and plain containers only.

    Raises:
        UsageError: no such file, a damaged file, or one that holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f'{path}: no such file')
    read = _read_safetensors if path.suffix == '.safetensors' else _read_pth
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # torch's remarks on odd files; the error line says it all
            content = read(path)
    except Exception as error:  # a damaged file may end in any exception of torch, zipfile, pickle or safetensors
        raise UsageError(f'{path}: {_why_unreadable(error)}; nothing was executed from it') from error
    if not isinstance(content, Mapping):
        raise UsageError(f'{path}: expected a dictionary of tensors, found {type(content).__name__}')
    return content


def is_plain(value: Any) -> bool:
    """Say whether ``value`` is a tensor as weights (floats) and counters (int64) are: dense, with its content."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    return value.is_floating_point() or value.dtype is torch.int64


def write_weights(path: str | os.PathLike[str], state: Mapping[str, Tensor]) -> None:
    """Write ``state`` whole or not at all: BasicSR's layout, both ``params`` alike, or .safetensors.

    A .safetensors file of a network of ours names it and its options in its metadata.
    """
    if Path(path).suffix == '.safetensors':
        write_bytes(path, encode_safetensors(state))
    else:
        both = {'params': dict(state), 'params_ema': dict(state)}  # one copy on disk: they share storage
        write_atomically(path, lambda file: torch.save(both, file))


def encode_safetensors(state: Mapping[str, Tensor]) -> bytes:
    """Return ``state`` as a .safetensors file."""
    from safetensors.torch import save

    return save({name: value.contiguous() for name, value in state.items()}, _metadata(state))


def write_networks(networks: dict[str, nn.Module], folder: Path) -> None:
    """Write each network into ``folder`` under its name.

    Raises:
        UsageError: the folder cannot be written.
    """
    try:
        for name, network in networks.items():
            write_weights(folder / name, network.state_dict())
    except (OSError, RuntimeError) as error:  # torch's writer turns the system's error into a RuntimeError
        reason = getattr(error, 'strerror', None) or str(error).splitlines()[0]
        raise UsageError(f'{folder}: cannot be written ({reason}); make room or choose another --output') from error


def _metadata(state: Mapping[str, Tensor]) -> dict[str, str]:
    kind = find_kind(state)
    if kind is None:
        return {'format': 'pt'}
    return {'format': 'pt', 'network': kind.network.__name__, 'options': json.dumps(kind.options(state))}


def some(names: list[str]) -> str:
    """The first few of ``names``, for an error line."""
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more


def _read_pth(path: Path) -> Any:
    return torch.load(path, map_location='cpu', weights_only=True)


def _read_safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


def _why_unreadable(error: Exception) -> str:
    if any(sign in str(error) for sign in SIGNS_OF_CODE):
        return 'refused, since it holds more than tensors and plain containers (pickled code or objects)'
    if isinstance(error, pickle.UnpicklingError):
        return 'damaged, or it holds more than tensors and plain containers'
    first_line = (str(error).splitlines() or [''])[0]
    return f'damaged, or not a file of torch or safetensors ({type(error).__name__}: {first_line[:120]})'


def looks_like_gpen(state: Mapping[str, Tensor]) -> bool:
    """Say whether keys are those of GPEN's files."""
    return any(key.startswith(('ecd0.', 'generator.', 'convs.', 'final_linear.')) for key in state)


def _unknown(state: Mapping[str, Tensor]) -> str:
    if looks_like_gpen(state):
        return GPEN_WAY_OUT
    known = ', '.join(kind.network.__name__ for kind in KINDS)
    return f'holds none of the networks {known}; its keys: {some(list(state)) or "none"}'
