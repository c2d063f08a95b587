"""The folders of a run under the current folder: experiments/, results/ and tb_logger/, as BasicSR lays them out."""

import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mmrbgan_arch.support.atomic_files import write_text, writing

_LOGGER = logging.getLogger(__name__)
_MADE = ('models', 'training_states', 'visualization', 'log')


def run_paths(root: Path, name: str, is_train: bool) -> dict[str, str]:
    """Return the paths of the run ``name`` under BasicSR's keys of ``opt['path']``."""
    if not is_train:
        home = root / 'results' / name
        return {'results_root': str(home), 'log': str(home), 'visualization': str(home / 'visualization')}
    home = root / 'experiments' / name
    inside = {key: str(home / key) for key in ('models', 'training_states', 'visualization')}
    return {'experiments_root': str(home), 'log': str(home), **inside}


def make_folders(paths: Mapping[str, Any]) -> None:
    """Make the run's folders where they are missing; UsageError where the disk is full or not writable."""
    for key in _MADE:
        if key in paths:
            with writing(paths[key], 'make room on the disk, or start from another folder'):
                os.makedirs(paths[key], exist_ok=True)


def set_aside(folder: str | Path) -> None:
    """Rename ``folder``, if it holds an earlier run, with the time; nothing is deleted."""
    folder = Path(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return
    stamp = f'{folder}_archived_{time.strftime("%Y%m%d_%H%M%S")}'
    taken = [Path(stamp), *(Path(f'{stamp}_{i}') for i in range(1, 1000))]
    new = next(path for path in taken if not path.exists())
    folder.rename(new)
    _LOGGER.warning('%s held an earlier run, which is now %s; --auto_resume would have continued it', folder, new.name)


def write_options(file: str, folder: str, options: Mapping[str, Any], versions: Mapping[str, str]) -> None:
    """Keep the option file as it was given, under BasicSR's header, and beside it what it was resolved to."""
    target = Path(folder) / Path(file).name
    header = f'# GENERATE TIME: {time.asctime()}\n# CMD:\n# {" ".join(sys.argv)}\n\n'
    resolved = yaml.safe_dump({'versions': dict(versions), **_plain(options)}, sort_keys=False, allow_unicode=True)
    with writing(folder, 'make room on the disk, or start from another folder'):
        if target.resolve() != Path(file).resolve():
            write_text(target, header + Path(file).read_text(encoding='utf-8'))
        write_text(Path(folder) / 'resolved_options.yml', resolved)


def _plain(value: Any) -> Any:
    """Return ``value`` as the plain dicts, lists and scalars that YAML holds."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
