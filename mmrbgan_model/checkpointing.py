"""Checkpoints that can be trusted: complete sets, written atomically, found again from anywhere."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmrbgan_arch.errors import UsageError

_LOGGER = logging.getLogger(__name__)


def find_state(opt: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the training state that the options ask for, and point ``opt['path']`` to its weights; None: start fresh.

    Args:
        opt: the run's options; ``auto_resume`` takes the newest complete set of the run's own folder, otherwise
            ``path.resume_state`` names one.

    Raises:
        UsageError: the state named by ``path.resume_state`` cannot be read.
    """
    path = _newest_state(Path(opt['path']['training_states'])) if opt['auto_resume'] else None
    path = path or (Path(opt['path']['resume_state']) if opt['path'].get('resume_state') else None)
    if path is None:
        return None
    state = load_state(path)
    opt['path']['resume_state'] = str(path)
    _use_weights(opt, state['iter'], path)
    return state


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state to the CPU; only plain tensors and containers are accepted.

    Raises:
        UsageError: the file is missing, truncated, no training state, or holds more than tensors.
    """
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        detail = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f'{path}: cannot be read as a training state ({detail})') from error
    if not isinstance(state, dict) or not {'epoch', 'iter', 'optimizers', 'schedulers'} <= set(state):
        raise UsageError(f'{path}: is no training state of BasicSR (epoch, iter, optimizers, schedulers)')
    return state


def _newest_state(folder: Path) -> Path | None:
    states = {int(path.stem): path for path in folder.glob('*.state') if re.fullmatch(r'\d+', path.stem)}
    for iteration in sorted(states, reverse=True):
        try:
            load_state(states[iteration])
        except UsageError as error:
            _LOGGER.warning('skipped a checkpoint: %s', error)
            continue
        return states[iteration]
    return None


def _use_weights(opt: Mapping[str, Any], iteration: int, state: Path) -> None:
    """Let BasicSR's constructors load the weights of the state, whole and under ``params``."""
    models = state.parent.parent / 'models'
    for key in [key for key in opt if key.startswith('network_')]:
        label = key.removeprefix('network_')
        if key not in (opt['path'].get('ignore_resume_networks') or ()):
            opt['path'][f'pretrain_{key}'] = str(models / f'net_{label}_{iteration}.pth')
            opt['path'][f'param_key_{label}'] = 'params'
            opt['path'][f'strict_load_{label}'] = True
