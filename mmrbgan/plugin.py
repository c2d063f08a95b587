"""Importing this module registers every network, dataset, metric and model with BasicSR.

The `basicsr` command finds it by the entry-point group ``basicsr.plugins``; a fork's own train script imports it.
Modules are found as BasicSR finds its own: by the endings ``_arch``, ``_dataset`` and ``_model`` of their names.
"""

import importlib
import pkgutil
from types import ModuleType

import mmrbgan_arch
import mmrbgan_data.datasets
import mmrbgan_model
import mmrbgan_model.metrics
from mmrbgan_arch import basicsr_bridge


def import_modules(package: ModuleType, ending: str = '') -> list[str]:
    """Import the modules of ``package`` whose names end in ``ending``; return their full names."""
    names = [info.name for info in pkgutil.iter_modules(package.__path__, package.__name__ + '.')]
    chosen = sorted(name for name in names if name.endswith(ending))
    for name in chosen:
        importlib.import_module(name)
    return chosen


basicsr_bridge.connect()
import_modules(mmrbgan_arch, '_arch')
import_modules(mmrbgan_data.datasets, '_dataset')
import_modules(mmrbgan_model, '_model')
import_modules(mmrbgan_model.metrics)
