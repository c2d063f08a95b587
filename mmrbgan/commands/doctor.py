"""`mmrbgan doctor`: what this machine has, what is broken, and what to do about it."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmrbgan_arch import basicsr_bridge
from mmrbgan_model.checkpoints.versions import installed_versions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no options."""


def run(args: argparse.Namespace) -> int:
    """Write one line per finding; return 1 if anything is broken."""
    tell = sys.stdout.write
    for name, version in installed_versions().items():
        tell(f'{name:16} {version}\n')
    broken = 0
    for check in (_torch, _basicsr, _plugins, _folder):
        fine, line = check()
        broken += not fine
        tell(f'{"ok" if fine else "BROKEN":16} {line}\n')
    return 1 if broken else 0


def _finding(probe: Callable[[], str], cure: str) -> tuple[bool, str]:
    """Return whether ``probe`` works, with its line or the reason and the cure."""
    try:
        return True, probe()
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        return False, f'{reason}; {cure}' if cure not in reason else reason


def _torch() -> tuple[bool, str]:
    def probe() -> str:
        import torch

        if torch.version.cuda and Path('/proc/driver/nvidia').exists() and not torch.cuda.is_available():
            raise RuntimeError('this machine has an NVIDIA driver, and torch cannot use it')
        found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return f'torch computes on {", ".join(found) or "the CPU"}, {torch.get_num_threads()} threads'

    return _finding(probe, 'install a torch that fits the driver, see https://pytorch.org/get-started/locally')


def _basicsr() -> tuple[bool, str]:
    def probe() -> str:
        return f'basicsr is imported from {Path(str(basicsr_bridge.connect().__file__)).parent}'

    return _finding(probe, 'training and testing need it; restoring does not')


def _plugins() -> tuple[bool, str]:
    def probe() -> str:
        from basicsr.utils.registry import MODEL_REGISTRY

        from ..running.runner import load_plugins

        load_plugins()
        return f'registered models: {", ".join(sorted(MODEL_REGISTRY.keys()))}'

    return _finding(probe, 'reinstall with `pip install -e .` in the project folder')


def _folder() -> tuple[bool, str]:
    fine = os.access(Path.cwd(), os.W_OK)
    return fine, f'{Path.cwd()} {"can" if fine else "cannot"} take experiments/, results/ and tb_logger/'
