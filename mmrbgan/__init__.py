"""MMRBGAN for BasicSR: restores badly degraded faces in any pose."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .restore_settings import Settings
    from .restorer import Restorer
    from .results import Face, RestoredPhoto

__all__ = ['Face', 'RestoredPhoto', 'Restorer', 'Settings']

_HOMES = {'Restorer': 'restorer', 'Settings': 'restore_settings', 'Face': 'results', 'RestoredPhoto': 'results'}


def __getattr__(name: str) -> Any:
    """Import what restores on first use, so that `import mmrbgan` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    import importlib

    return getattr(importlib.import_module(f'.{_HOMES[name]}', __name__), name)
