"""Stops a run before the step when a loss or a gradient is not finite."""

import functools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmrbgan_arch.support.errors import UsageError

from . import ranks
from .checkpoints.run_files import write_run_file


def gradient_size(optimizer: torch.optim.Optimizer) -> Tensor | None:
    """Return the norm over all gradients of an optimizer's parameters, None if it has none in this step."""
    gradients = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
    if not gradients:
        return None
    return torch.nn.utils.get_total_norm(gradients).float()


def to_floats(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Bring scalars to the CPU in one transfer."""
    if not values:
        return {}
    stacked = torch.stack([value.detach().reshape(()).float() for value in values.values()])
    return dict(zip(values, stacked.tolist(), strict=True))


def not_finite(values: Mapping[str, float]) -> list[str]:
    """Return the names of the values that are NaN or infinite."""
    return [name for name, value in values.items() if not math.isfinite(value)]


def stop_run(names: Iterable[str], iteration: int, files: list[str], batch: Mapping[str, Any], folder: Path) -> None:
    """Save the batch and stop; the networks stay as the iteration before left them.

    Raises:
        UsageError: always; it names the terms, the iteration, the files of the batch and where the batch lies.
    """
    rank, size = ranks.rank_and_size()
    path = folder / (f'bad_batch_{iteration}.pt' if size == 1 else f'bad_batch_{iteration}_rank{rank}.pt')
    folder.mkdir(parents=True, exist_ok=True)
    write_run_file(path, functools.partial(torch.save, {'iteration': iteration, 'files': files, **batch}))
    raise UsageError(
        f'iteration {iteration}: not finite: {", ".join(names)}; no step was taken. Files of the batch: '
        f'{", ".join(files) or "unknown"}. The batch is in {path}. Look at those files, or lower the learning rates, '
        'then go on from the last checkpoint with --auto_resume'
    )
