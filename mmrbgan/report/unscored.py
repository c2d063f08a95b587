"""What `basicsr test` leaves (``results/NAME``) is not scored yet: the flags of `mmrbgan evaluate` that score it.

Its log, which BasicSR's own runner writes too, says which datasets were tested and where they lie.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmrbgan_arch.support.errors import UsageError

OPENS, VALUE, CLOSES = re.compile(r'\s*([^\s:]+):\[\s*'), re.compile(r'\s*([^\s:]+): (.*)'), re.compile(r'\s*\]\s*')


def evaluations(folder: Path) -> list[list[str]]:
    """Return, for each dataset of a results folder that has no record there yet, the flags that make one.

    Any other folder, and a file, has none.

    Raises:
        UsageError: the run kept no pictures, or its data has moved away.
    """
    logs = sorted(folder.glob('test_*.log'))
    if not logs:
        return []
    options = read_options(logs[-1].read_text(encoding='utf-8', errors='replace').splitlines())
    home = Path(options.get('path', {}).get('results_root', folder)).parents[1]  # from which the test was started
    datasets = [one for one in options.get('datasets', {}).values() if isinstance(one, dict) and 'name' in one]
    if not datasets:
        raise UsageError(f'{logs[-1]}: names no dataset; score the pictures with `mmrbgan evaluate`')
    return [_flags(folder, home, one) for one in datasets if not _record(folder, one).is_file()]


def read_options(lines: Iterable[str]) -> dict[str, Any]:
    """Return the options that BasicSR writes into a log, nested, every value as its text."""
    root: dict[str, Any] = {}
    stack = [root]
    for line in lines:
        if found := OPENS.fullmatch(line):
            stack.append(stack[-1].setdefault(found[1], {}))
        elif CLOSES.fullmatch(line) and len(stack) > 1:
            stack.pop()
        elif found := VALUE.fullmatch(line):
            stack[-1].setdefault(found[1], found[2])
    return root


def _record(folder: Path, dataset: dict[str, Any]) -> Path:
    return folder / f'{dataset["name"]}.json'


def _flags(folder: Path, home: Path, dataset: dict[str, Any]) -> list[str]:
    pictures = folder / 'visualization' / dataset['name']
    if not pictures.is_dir():
        raise UsageError(f'{folder}: no {pictures}; test again with val.save_img: true, or name a record')
    flags = [str(pictures), '--name', folder.name, '--out', str(_record(folder, dataset))]
    if 'dataroot_gt' in dataset:
        table = 'sr' if 'super_resolution' in dataset else 'synthetic'
        return [*flags, '--gt', _place(home, dataset['dataroot_gt'], folder), '--table', table]
    if 'dataroot_lq' in dataset:
        return [*flags, '--lq', _place(home, dataset['dataroot_lq'], folder), '--table', 'real']
    raise UsageError(f'{folder}: its log names no dataroot_gt and no dataroot_lq; score it with `mmrbgan evaluate`')


def _place(home: Path, given: str, folder: Path) -> str:
    place = Path(given).expanduser()
    place = place if place.is_absolute() else home / place
    if not place.exists():
        raise UsageError(f'{folder}: its data {place} is gone; score it with `mmrbgan evaluate ... --gt DIR`')
    return str(place)
