"""The versions a run depends on, for its log, its checkpoints and `mmrbgan doctor`."""

import importlib.metadata
import platform

PACKAGES = ('mmrbgan', 'basicsr', 'torch', 'torchvision', 'numpy', 'scipy', 'opencv-python', 'scikit-image', 'facexlib')


def installed_versions() -> dict[str, str]:
    """Return name -> version of Python and of the packages above; 'missing' for one that is not installed."""
    return {'python': platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return 'missing'
