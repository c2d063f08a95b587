"""TensorBoard and Weights & Biases of a run."""

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrbgan_arch.support.errors import UsageError

_LOGGER = logging.getLogger(__name__)


def wants_wandb(opt: Mapping[str, Any]) -> bool:
    """Say whether the run goes to Weights & Biases; as in BasicSR, no run called debug does."""
    return bool((opt['logger'].get('wandb') or {}).get('project')) and 'debug' not in opt['name']


def check(opt: Mapping[str, Any]) -> None:
    """Refuse a run that will not find what it logs to.

    Raises:
        UsageError: a package is missing; the line says how to install it.
    """
    if wants_wandb(opt):
        _import('wandb', "logger.wandb: needs the package wandb; `pip install 'mmrbgan[wandb]'`, or remove the key")
    if opt['logger']['use_tb_logger']:
        _import(
            'torch.utils.tensorboard',
            'logger.use_tb_logger: needs the package tensorboard; `pip install tensorboard`, or set it to false',
        )


def open_loggers(opt: Mapping[str, Any]) -> Any:
    """Return the first process's writer of TensorBoard, or None; Weights & Biases follows it (``init_tb_loggers``)."""
    if opt['rank'] or 'debug' in opt['name'] or not opt['logger']['use_tb_logger']:
        return None
    if wants_wandb(opt):
        _start_wandb(opt)
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(log_dir=str(Path(opt['root_path']) / 'tb_logger' / opt['name']))


def _start_wandb(opt: Mapping[str, Any]) -> None:
    """Begin or go on; an id is drawn by wandb itself, whose ``util.generate_id`` BasicSR calls in vain today."""
    import wandb

    options = opt['logger']['wandb']
    resume_id = options.get('resume_id')
    try:
        run = wandb.init(
            id=resume_id,
            resume='allow' if resume_id else None,
            name=opt['name'],
            config=dict(opt),
            project=options['project'],
            sync_tensorboard=True,
        )
    except Exception as error:  # of the network, the account, the settings
        raise UsageError(
            f'logger.wandb: {" ".join(str(error).split())}; `wandb login`, set WANDB_MODE=offline, or remove it'
        ) from error
    _LOGGER.info('Weights & Biases: project %s, id %s (logger.wandb.resume_id goes on with it)', run.project, run.id)


def _import(name: str, complaint: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise UsageError(complaint) from error
