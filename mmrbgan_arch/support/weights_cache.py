"""Where public weights lie on this machine, and how they come there: a path, the cache folder, the authors' address."""

import logging
import os
from pathlib import Path

from .errors import UsageError
from .fetch import FetchError, fetch, pin
from .user_cache import cache_folder

_LOGGER = logging.getLogger(__name__)


def find_weights(path: str | os.PathLike[str] | None, file_name: str, address: str, option: str, way_out: str) -> Path:
    """Return a local path of public weights, downloading them into the cache folder if need be.

    Args:
        path: the user's own path; nothing else is tried when it is given.
        file_name: the name in the cache folder.
        address: the folder at the authors' own place, ending in '/'.
        option: the key or flag that names a path, for the error line.
        way_out: how to do without, for the error line.

    Raises:
        UsageError: no such file, or it cannot be downloaded.
    """
    if path is not None:
        if Path(path).is_file():
            return Path(path)
        raise UsageError(f'{option}: no such file: {path}; it should be {file_name} from {address}{file_name}')
    cached = cache_folder('weights') / file_name
    if not cached.is_file():
        _download(address + file_name, cached, option, way_out)
    return cached


def _download(url: str, target: Path, option: str, way_out: str) -> None:
    _LOGGER.info('downloading %s to %s', url, target)
    try:
        fetch(url, target)
    except FetchError as error:
        raise UsageError(
            f'{target.name} could not be downloaded from {url} ({error}); fetch it by hand and name it in {option} '
            f'(or put it at {target}), or {way_out}'
        ) from error
    pin(target)
