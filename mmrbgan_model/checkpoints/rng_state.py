"""The random-number generators of a process, as plain values that a checkpoint can hold."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def capture() -> dict[str, Any]:
    """Return the state of Python's, numpy's and torch's generators (and of this process's GPU)."""
    name, keys, *rest = np.random.get_state()
    state = {
        'python': random.getstate(),
        'numpy': (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def restore(state: Mapping[str, Any]) -> None:
    """Put the generators back to what ``capture`` returned; a fork's runner may have loaded it to a GPU."""
    version, keys, gauss = state['python']
    random.setstate((version, tuple(keys), gauss))
    name, numbers, *rest = state['numpy']
    np.random.set_state((name, numbers.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def preserved() -> Iterator[None]:
    """Leave the generators, after the block, as they were before it."""
    state = capture()
    try:
        yield
    finally:
        restore(state)
