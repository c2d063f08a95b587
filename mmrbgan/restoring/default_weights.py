"""Which weights restore: a path, the name of a converted public release, or the network that ships in the package."""

import os
from pathlib import Path

from mmrbgan_arch import releases
from mmrbgan_arch.support.atomic_files import sha256_of
from mmrbgan_arch.support.errors import UsageError

PACKAGED = Path(__file__).parents[1] / 'weights_files'
SUMS_FILE = 'SHA256SUMS'  # lines `sha256  name`; the first names the default
NO_WEIGHTS = (
    'no weights: none ship with this installation; name yours with --weights FILE, get public ones with '
    '`mmrbgan weights get`, or train with `basicsr train`'
)


def choose_weights(weights: str | os.PathLike[str] | None) -> Path:
    """Return the file to load.

    Args:
        weights: path of a .pth or .safetensors, the name of a converted public release, or None for the packaged file.

    Raises:
        UsageError: nothing of that kind is there, or the packaged file is damaged.
    """
    if weights is None:
        return packaged_weights()
    return Path(weights) if Path(weights).is_file() else (releases.find(str(weights)) or _no_such(weights))


def packaged_weights(folder: Path = PACKAGED) -> Path:
    """Return the default network's file inside the package, the SHA-256 of it and of its graph checked.

    Raises:
        UsageError: none ships, or it is not what was shipped.
    """
    sums = folder / SUMS_FILE
    if not sums.is_file():
        raise UsageError(NO_WEIGHTS)
    shipped = [line.split() for line in sums.read_text(encoding='utf-8').splitlines()]
    default = folder / shipped[0][1]
    for digest, path in ((digest, folder / name) for digest, name in shipped):
        if path in (default, graph_of(default)) and not (path.is_file() and sha256_of(path) == digest):
            raise UsageError(f'{path}: missing or not as it was shipped (SHA-256); install mmrbgan again')
    return default


def graph_of(weights: Path) -> Path:
    """Return the file that onnxruntime opens for ``weights``: itself, if it is .onnx, else the graph beside it."""
    return weights if weights.suffix == '.onnx' else weights.with_suffix('.graph.onnx')


def _no_such(weights: str | os.PathLike[str]) -> Path:
    names = ', '.join(name for name, release in releases.RELEASES.items() if 'net_g.pth' in release.gives)
    raise UsageError(f'--weights {os.fspath(weights)}: no such file, nor the name of public weights ({names})')
