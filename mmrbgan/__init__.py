"""MMRBGAN for BasicSR: restores badly degraded faces in any pose."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .restoring.restorer import Restorer
    from .restoring.results import Face, RestoredPhoto
    from .restoring.settings import Settings

__all__ = ['Face', 'RestoredPhoto', 'Restorer', 'Settings']

_HOMES = {
    'Restorer': 'restorer',
    'Settings': 'settings',
    'Face': 'results',
    'RestoredPhoto': 'results',
}


def __getattr__(name: str) -> Any:
    """Import what restores on first use, so that `import mmrbgan` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    import importlib

    return getattr(importlib.import_module(f'.restoring.{_HOMES[name]}', __name__), name)
