"""Where files made or fetched once lie between runs: $MMRBGAN_HOME, else the user's cache folder of the system."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return the folder ``name`` of the cache; it is not made."""
    home = os.environ.get('MMRBGAN_HOME')
    if home:
        return Path(home).expanduser() / name
    import platformdirs

    return Path(platformdirs.user_cache_dir('mmrbgan', appauthor=False)) / name
