"""The one place that makes ``import basicsr`` work, and the way into its registries.

Networks, datasets, metrics and the model register through the decorators here. They only record: importing them stays
fast and works where basicsr is not installed. ``connect()`` imports basicsr, with what PyPI's 1.4.2 misses on today's
torchvision, Python and SciPy put in its place, and enters everything recorded into its registries; decorators that run
later register at once.
"""

import importlib
import importlib.util
import logging
import sys
import types
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from .support.errors import UsageError

T = TypeVar('T')

_LOGGER = logging.getLogger(__name__)
_RECORDED: dict[str, list[Any]] = {'arch': [], 'model': [], 'dataset': [], 'metric': []}
_REGISTRIES: dict[str, Any] = {}


def register_arch(cls: T) -> T:
    """Class decorator: enter a network into ARCH_REGISTRY."""
    return _record('arch', cls)


def register_model(cls: T) -> T:
    """Class decorator: enter a model into MODEL_REGISTRY."""
    return _record('model', cls)


def register_dataset(cls: T) -> T:
    """Class decorator: enter a dataset into DATASET_REGISTRY."""
    return _record('dataset', cls)


def register_metric(function: T) -> T:
    """Function decorator: enter a per-image metric into METRIC_REGISTRY."""
    return _record('metric', function)


def recorded(kind: str, name: str) -> Any | None:
    """Return what was registered here as ``name`` (kind: arch, model, dataset or metric), or None."""
    return next((thing for thing in _RECORDED[kind] if thing.__name__ == name), None)


def all_recorded(kind: str) -> list[Any]:
    """Return everything of this plugin that was registered here (kind: arch, model, dataset or metric), in order."""
    return [thing for thing in _RECORDED[kind] if thing.__module__.startswith('mmrbgan')]


def is_available() -> bool:
    """Say whether basicsr is installed, without importing it."""
    return 'basicsr' in sys.modules or importlib.util.find_spec('basicsr') is not None


def how_to_install() -> str:
    """Return how basicsr comes into this Python, if it can."""
    if sys.version_info >= (3, 13):
        return f'it cannot be built on Python 3.{sys.version_info.minor}; take Python 3.10 to 3.12'
    return (
        'run `pip install torch torchvision cython "setuptools<81" wheel`, then '
        '`pip install --no-build-isolation "mmrbgan[train]"`'
    )


def connect() -> types.ModuleType:
    """Import basicsr and enter everything recorded into its registries; calling it again is harmless.

    Returns:
        the module ``basicsr`` (a fork of that name serves as well).

    Raises:
        UsageError: basicsr is missing or cannot be imported; the line says how to install it.
    """
    basicsr = _import_basicsr()
    if not _REGISTRIES:
        registry = importlib.import_module('basicsr.utils.registry')
        _REGISTRIES.update({kind: getattr(registry, f'{kind.upper()}_REGISTRY') for kind in _RECORDED})
        for kind, things in _RECORDED.items():
            for thing in things:
                _enter(kind, thing)
    return basicsr


def mend() -> None:
    """Put in place what basicsr 1.4.2 misses, for whoever imports it later; nothing where it is not installed."""
    if is_available():
        for one in (_mend_distutils, _mend_torchvision, _mend_scipy):
            one()


def _record(kind: str, thing: T) -> T:
    _RECORDED[kind].append(thing)
    if _REGISTRIES:
        _enter(kind, thing)
    return thing


def _enter(kind: str, thing: Any) -> None:
    """Register ``thing``; a name that a fork already took keeps its owner, ours gets a suffix."""
    registry = _REGISTRIES[kind]
    if thing.__name__ not in registry:
        registry.register(thing)
        return
    owner = registry.get(thing.__name__).__module__
    if owner != thing.__module__:
        _LOGGER.warning('%s %s is taken by %s; ours is %s_mmrbgan', kind, thing.__name__, owner, thing.__name__)
        registry._do_register(f'{thing.__name__}_mmrbgan', thing)  # older registries know no suffix


def _import_basicsr() -> types.ModuleType:
    if not is_available():
        raise UsageError(f'training and testing need basicsr, which is not installed: {how_to_install()}')
    mend()
    try:
        with warnings.catch_warnings(), _kept_numpy_errors():
            warnings.simplefilter('ignore')
            return importlib.import_module('basicsr')
    except ImportError as error:
        raise UsageError(f'basicsr cannot be imported ({error}); `mmrbgan doctor` names what is broken') from error


def _kept_numpy_errors() -> AbstractContextManager[Any]:
    """Put numpy's error handling back afterwards: importing basicsr silences it for the whole process."""
    import numpy as np

    return np.errstate()


def _mend_distutils() -> None:
    """Python 3.12 has no distutils; setuptools carries it."""
    if not _exists('distutils'):
        importlib.import_module('setuptools')  # puts its own distutils in place
    if not _exists('distutils'):
        for name in ('', '.version'):
            sys.modules[f'distutils{name}'] = importlib.import_module(f'setuptools._distutils{name}')


def _mend_torchvision() -> None:
    """Torchvision 0.17 dropped ``functional_tensor``; basicsr wants one function of it."""
    name = 'torchvision.transforms.functional_tensor'
    if not _exists(name):
        functional = importlib.import_module('torchvision.transforms.functional')
        _put_module(name, {'rgb_to_grayscale': functional.rgb_to_grayscale})


def _mend_scipy() -> None:
    """SciPy 2 drops the namespace ``scipy.ndimage.filters``; its functions live one level higher."""
    name = 'scipy.ndimage.filters'
    if not _exists(name):
        ndimage = importlib.import_module('scipy.ndimage')
        _put_module(name, {key: getattr(ndimage, key) for key in ('convolve', 'gaussian_filter')})


def _exists(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _put_module(name: str, content: dict[str, Callable[..., Any]]) -> None:
    """Make a module of ``content`` importable as ``name`` and as an attribute of its parent."""
    module = types.ModuleType(name, 'Put here by mmrbgan_arch.basicsr_bridge for basicsr.')
    vars(module).update(content)
    sys.modules[name] = module
    parent, _, last = name.rpartition('.')
    setattr(importlib.import_module(parent), last, module)
