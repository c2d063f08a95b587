"""The share of one of torchrun's processes: `torchrun --nproc_per_node=N --no-python mmrbgan restore FOLDER -o OUT`.

`mmrbgan evaluate` is shared alike.
"""

import importlib.util
import os
from typing import Any

from ..restoring.files.share import Share
from ..restoring.onnx_network import may_have_a_gpu

WAIT = 7 * 24 * 3600.0  # seconds for the slowest process


def own_share() -> Share:
    """Return what this process does: all, or its part where torchrun started it."""
    return LaunchedShare() if {'RANK', 'WORLD_SIZE'} <= os.environ.keys() else Share()


class LaunchedShare(Share):
    """Shares with the other processes that torchrun started."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
        self.part = f'.{self.rank}'
        _take_own_gpu()

    def join(self) -> None:
        """Meet the others, by gloo; torch is imported here, after the engine was chosen as in a single process."""
        from . import processes

        processes.start({'timeout': WAIT}, 0)

    def gather(self, value: Any) -> list[Any]:
        """Wait for all processes and return the ``value`` of each."""
        from . import processes

        values = processes.gather(value)
        processes.finish()
        return values


def _take_own_gpu() -> None:
    """Spread the processes of a machine over its GPUs, where there may be any."""
    if not (may_have_a_gpu() and importlib.util.find_spec('torch')):
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count())
