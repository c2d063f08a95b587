"""Weights into the networks of a run: BasicSR's layout or a raw state dict, ``weights_only``, one clear error."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.weights_io import is_plain, looks_like_gpen, read_file

KEYS = ('params_ema', 'params')


def read_weights(path: str | Path, where: str) -> Mapping[str, Any]:
    """Read a ``.pth`` (plain tensors only) or a ``.safetensors`` file on the CPU.

    Raises:
        UsageError: missing, truncated, or holding anything but tensors in plain containers.
    """
    try:
        return read_file(path)
    except UsageError as error:
        raise UsageError(f'{where}: {error}; fetch or convert it again') from error


def pick_state(content: Mapping[str, Any], wanted_key: str | None, path: str | Path, where: str) -> dict[str, Tensor]:
    """Return the state dict in a file: under ``wanted_key``, else ``params_ema``, ``params``, else the file itself."""
    if wanted_key is not None and wanted_key in content:
        state = content[wanted_key]
    else:
        state = next((content[key] for key in KEYS if key in content), content)
    if not isinstance(state, Mapping) or not all(is_plain(value) for value in state.values()):
        raise UsageError(
            f'{where}: {path} holds no state dict; found the keys {", ".join(map(str, list(content)[:5]))}'
        )
    return {str(key).removeprefix('module.').removeprefix('_orig_mod.'): value for key, value in state.items()}


def fit_state(network: nn.Module, state: Mapping[str, Tensor], strict: bool, path: str | Path, where: str) -> None:
    """Load ``state`` into ``network``.

    With ``strict`` every key must fit; without, what fits by name and shape is loaded.

    Raises:
        UsageError: the file belongs to another network or size; the first keys that do not fit are named.
    """
    own = network.state_dict()
    missing = [key for key in own if key not in state]
    extra = [key for key in state if key not in own]
    shapes = [key for key in own if key in state and own[key].shape != state[key].shape]
    if shapes and strict:
        key = shapes[0]
        detail = f'{key} is {tuple(state[key].shape)} there and {tuple(own[key].shape)} here'
        raise UsageError(f'{where}: {path} is of another size ({detail}); adapt the network options or the file')
    if (missing or extra) and strict:
        if looks_like_gpen(state):
            raise UsageError(f'{where}: {path} looks like a GPEN file; run `mmrbgan convert gpen` first')
        detail = ', '.join([f'missing {key}' for key in missing[:2]] + [f'unexpected {key}' for key in extra[:2]])
        raise UsageError(f'{where}: {path} is of another network ({detail}); name the right file')
    fitting = {key: value for key, value in state.items() if key in own and key not in shapes}
    if not fitting:
        raise UsageError(f'{where}: nothing in {path} fits this network; name the right file')
    network.load_state_dict(fitting, strict=False)
