"""`mmrbgan doctor`: what works here for which use, what is missing or broken, and what to do about it."""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from mmrbgan_arch import basicsr_bridge, releases
from mmrbgan_arch.support.public_weights import FILES, local_file
from mmrbgan_arch.support.user_cache import cache_folder
from mmrbgan_model.checkpoints.versions import installed_versions

PACKAGE = 'mmrbgan'
PURPOSES = {
    'train': 'LMDBs, TensorBoard and, below Python 3.13, basicsr',
    'lpips': 'the metric LPIPS',
    'heic': 'HEIC photographs',
    'video': 'films',
    'ui': 'the page of `mmrbgan ui`',
    'export': 'ONNX',
    'scores': 'a network for scores alone, never in a loss',
    'baselines': 'GFPGAN, RestoreFormer and CodeFormer beside ours',
    'wandb': 'Weights & Biases beside TensorBoard',
}
"""Extra -> what it is for."""


@dataclass(frozen=True)
class Finding:
    """One line: of a thing that works, that is not here and need not be, or that is broken."""

    state: Literal['ok', 'absent', 'BROKEN']
    name: str
    words: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no options."""


def run(args: argparse.Namespace) -> int:
    """Write one line per finding; return 1 if anything is broken (what is merely absent is not)."""
    versions = installed_versions()
    sys.stdout.write(', '.join(f'{name} {version}' for name, version in versions.items()))
    sys.stdout.write(f', {platform.platform(terse=True)} {platform.machine()}\n')
    broken = False
    for title, findings in (('Uses', _uses), ('Extras', _extras), ('Weights', _weights)):
        sys.stdout.write(f'\n{title}\n')
        for finding in findings():
            broken |= finding.state == 'BROKEN'
            sys.stdout.write(f'  {finding.state:6}  {finding.name:20} {finding.words}\n')
    return int(broken)


def _uses() -> Iterator[Finding]:
    if importlib.util.find_spec('torch') is None and importlib.util.find_spec('onnxruntime') is not None:
        yield Finding('absent', 'torch', 'photographs are restored by onnxruntime; `pip install mmrbgan` for all else')
    else:
        yield _probe('packages', _required, 'install what is missing: `pip install --upgrade mmrbgan`')
        yield _probe('device', _device, 'install a torch that fits the driver: https://pytorch.org/get-started/locally')
    yield _probe('restore', _restore, '`pip install --force-reinstall --no-deps mmrbgan` puts its own files back')
    if basicsr_bridge.is_available():
        yield _probe('train, test', _train, 'restoring does without it')
    else:
        yield Finding('absent', 'train, test', f'basicsr is not installed: {basicsr_bridge.how_to_install()}')
    yield _probe('current folder', _folder, 'go to a folder of yours')


def _probe(name: str, probe: Callable[[], str], cure: str) -> Finding:
    """Return ``probe``'s line, or the reason why it failed and the cure."""
    try:
        return Finding('ok', name, probe())
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        return Finding('BROKEN', name, f'{reason}; {cure}')


def _required() -> str:
    wrong = [line for requirement in _requirements() if (line := _unmet(requirement))]
    if wrong:
        raise RuntimeError(', '.join(wrong))
    return 'everything that restoring needs is installed'


def _device() -> str:
    import torch

    if torch.version.cuda and Path('/proc/driver/nvidia').exists() and not torch.cuda.is_available():
        raise RuntimeError('this machine has an NVIDIA driver, and torch cannot use it')
    found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f'torch computes on {", ".join(found) or "the CPU"}, {torch.get_num_threads()} threads'


def _restore() -> str:
    import numpy as np

    from ..restoring.restorer import Restorer
    from ..restoring.settings import Settings

    restorer = Restorer(settings=Settings(aligned=True))
    size, network = restorer.network.size, restorer.network
    restorer.restore(np.full((size, size, 3), 128, np.uint8))
    precision = f'{str(network.dtype).removeprefix("torch.")} by {network.engine}'
    detector = getattr(restorer.detector, 'name', type(restorer.detector).__name__)
    return f'{restorer.weights.name}, {size} px, {precision} on {restorer.device}; detector {detector}'


def _train() -> str:
    basicsr = basicsr_bridge.connect()
    from basicsr.utils.registry import MODEL_REGISTRY

    from ..running.runner import load_plugins

    load_plugins()
    return f'basicsr in {Path(str(basicsr.__file__)).parent}; models {", ".join(sorted(MODEL_REGISTRY.keys()))}'


def _folder() -> str:
    if not os.access(Path.cwd(), os.W_OK):
        raise PermissionError(f'{Path.cwd()} cannot take results')
    return f'{Path.cwd()} can take results'


def _extras() -> Iterator[Finding]:
    for extra, purpose in PURPOSES.items():
        missing = [line for requirement in _requirements(extra) if (line := _unmet(requirement))]
        words = f"{purpose}: {', '.join(missing)}; `pip install '{PACKAGE}[{extra}]'`" if missing else purpose
        yield Finding('absent' if missing else 'ok', extra, words)


def _requirements(extra: str = '') -> Iterator[Requirement]:
    """Yield what ``extra`` adds to what everybody needs here (no extra: what everybody needs)."""
    for requirement in map(Requirement, importlib.metadata.requires(PACKAGE) or ()):
        marker = requirement.marker
        uses = {name for name in {'', extra} if marker is None or marker.evaluate({'extra': name})}
        if uses and ('' in uses) == (not extra):
            yield requirement


def _unmet(requirement: Requirement) -> str:
    """Say what is wrong with the installed package, '' if nothing is."""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f'{requirement.name} is not installed'
    fits = requirement.specifier.contains(version, prereleases=True)
    return '' if fits else f'{requirement.name} {version} is not {requirement.specifier}'


def _weights() -> Iterator[Finding]:
    for name, release in releases.RELEASES.items():
        path = cache_folder('weights') / name
        here = all((path / file).is_file() for file in release.gives)
        yield Finding('ok' if here else 'absent', name, str(path) if here else f'`mmrbgan weights get {name}`')
    taken = {key for release in releases.RELEASES.values() for key in release.files}
    for name, file in ((name, file) for name, file in FILES.items() if name not in taken):
        found = local_file(file)
        way = f'fetched from {file.address} when needed' if file.url else f'get it from {file.address}'
        yield Finding('ok' if found else 'absent', name, str(found or f'{file.name}: {way}'))
