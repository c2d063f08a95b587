"""Starts and ends the processes of a run: one by default, several under torchrun, on GPUs (nccl) or on CPUs (gloo)."""

import os
import signal
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.option_reader import read_options
from mmrbgan_model.ranks import rank_and_size

from .options.sections import ProcessOptions

GRACE = 60.0  # seconds from the launcher's end to ours
_control: list[Any] = []  # the group for small messages on the CPU


def choose_device(num_gpu: Any, launched: bool) -> tuple[int, str]:
    """Settle ``num_gpu`` of the yml.

    Args:
        num_gpu: ``auto``, 0, 1 or (with torchrun) the number of GPUs of this machine.
        launched: whether torchrun started this process.

    Returns:
        the number to run with (0 = CPU) and a line that says what was chosen and why.

    Raises:
        UsageError: a GPU is asked for and none is there, or several without torchrun (DataParallel).
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if num_gpu == 'auto':
        return _choose_automatically(found, launched)
    if isinstance(num_gpu, bool) or not isinstance(num_gpu, int) or num_gpu < 0:
        raise UsageError(f'num_gpu: {num_gpu!r} is none of auto, 0, 1, 2, ...')
    if num_gpu > found:
        raise UsageError(
            f'num_gpu: {num_gpu} asks for more GPUs than torch finds here ({found}); set num_gpu: 0 for the CPU, '
            'num_gpu: auto, or mend the driver (`mmrbgan doctor`)'
        )
    if num_gpu > 1 and not launched:
        raise UsageError(
            f'num_gpu: {num_gpu} in one process would be DataParallel, which is refused; start one per GPU: '
            f'`torchrun --nproc_per_node={num_gpu} --no-python basicsr train -opt F --launcher pytorch`'
        )
    return num_gpu, f'num_gpu: {num_gpu}: running on the {"GPU" if num_gpu else "CPU"}'


def start(options: Mapping[str, Any] | None, num_gpu: int) -> None:
    """Join the process group that torchrun prepared; every rank takes the GPU of its LOCAL_RANK."""
    settings = read_options(ProcessOptions, options, 'dist_params')
    if 'RANK' not in os.environ or 'WORLD_SIZE' not in os.environ:
        raise UsageError('--launcher pytorch: start with `torchrun --nproc_per_node=N --no-python basicsr train ...`')
    if num_gpu:
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', '0')))
    backend = settings.backend if settings.backend != 'auto' else ('nccl' if num_gpu else 'gloo')
    timeout = timedelta(seconds=settings.timeout)
    _end_with_launcher()
    dist.init_process_group(backend, timeout=timeout)
    _control.append(dist.new_group(backend='gloo', timeout=timeout))


def _end_with_launcher() -> None:
    """Save and end when torchrun is gone, which would otherwise leave this process running unseen."""
    launcher = os.getppid()
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        threading.Thread(target=_watch, args=(launcher,), daemon=True, name='launcher watch').start()


def _watch(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)  # the run saves itself
    time.sleep(GRACE)
    os._exit(1)  # it waits for a process that is gone


def any_rank(flag: bool) -> bool:
    """Say whether ``flag`` is set on any rank; on the CPU, so that a GPU is not waited for."""
    if rank_and_size()[1] == 1:
        return flag
    box = torch.tensor([int(flag)])
    dist.all_reduce(box, op=dist.ReduceOp.MAX, group=_control[-1])
    return bool(box.item())


def wait_for_all() -> None:
    """Return once every rank is here."""
    if rank_and_size()[1] > 1:
        dist.barrier()


def from_first_rank(value: Any) -> Any:
    """Return the first rank's ``value`` on every rank."""
    if rank_and_size()[1] == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather(value: Any) -> list[Any]:
    """Return every rank's ``value``, on every rank."""
    size = rank_and_size()[1]
    if size == 1:
        return [value]
    values = [None] * size
    dist.all_gather_object(values, value, group=_control[-1])
    return values


def finish() -> None:
    """Leave the process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _choose_automatically(found: int, launched: bool) -> tuple[int, str]:
    if not found:
        return 0, 'num_gpu: auto: torch finds no GPU, so this run is on the CPU'
    if launched:
        return found, f'num_gpu: auto: one process per GPU, {found} on this machine'
    more = f'; the other {found - 1} stay idle, torchrun uses them all' if found > 1 else ''
    return 1, f'num_gpu: auto: running on {torch.cuda.get_device_name(0)}{more}'
