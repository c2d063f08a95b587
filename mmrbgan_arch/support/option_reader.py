"""Reads a mapping from a yml once into a frozen dataclass: unknown keys and wrong types are one clear line each."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import UsageError, nearest_key

T = TypeVar('T')


def read_options(cls: type[T], mapping: Mapping[str, Any] | None, where: str) -> T:
    """Build the frozen dataclass ``cls`` from ``mapping`` without changing ``mapping``.

    Nested dataclasses, ``X | None``, ``tuple[...]`` (from a list), ``Mapping`` and plain types are understood; an int
    is taken where a float is asked. A ValueError of the dataclass's own ``__post_init__`` gets the place in front.

    Args:
        cls: a dataclass whose fields are the known keys.
        mapping: the section of the yml; None counts as empty.
        where: the section's place in the yml, such as ``train.optim_g``, for error lines.

    Raises:
        UsageError: an unknown key, a missing key, or a value of the wrong type, named with its place.
    """
    if not isinstance(mapping, Mapping) and mapping is not None:
        raise UsageError(f'{where}: expected keys and values, found {mapping!r}')
    mapping = mapping or {}
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise UsageError(f'{where}: {nearest_key(str(key), fields)}')
    for name, field in fields.items():
        if name not in mapping and field.default is field.default_factory is dataclasses.MISSING:
            raise UsageError(f'{where}.{name}: missing, and it has no default')
    values = {key: _convert(value, hints[key], f'{where}.{key}') for key, value in mapping.items()}
    try:
        return cls(**values)
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f'{where}: {error}') from error


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return ``value`` as the annotated type ``hint``, or raise UsageError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, arguments, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise UsageError(f'{where}: {value!r} is none of {", ".join(map(repr, arguments))}')
        return value
    if origin is tuple:
        return _convert_tuple(value, arguments, where)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else read_options(hint, value, where)  # type: ignore[arg-type]
    return _convert_plain(value, origin or hint, where)


def _convert_union(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in choices:
        return None
    errors = []
    for choice in (choice for choice in choices if choice is not type(None)):
        try:
            return _convert(value, choice, where)
        except UsageError as error:
            errors.append(str(error))
    raise UsageError(errors[0])


def _convert_tuple(value: Any, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise UsageError(f'{where}: expected a list, found {value!r}')
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise UsageError(f'{where}: expected {len(arguments)} values, found {len(value)}')
    return tuple(
        _convert(item, hint, f'{where}[{i}]') for i, (item, hint) in enumerate(zip(value, arguments, strict=True))
    )


def _convert_plain(value: Any, kind: type, where: str) -> Any:
    is_bool = isinstance(value, bool)
    if kind is float and isinstance(value, int) and not is_bool:
        return float(value)
    if not isinstance(value, kind) or (is_bool and kind in (int, float)):
        raise UsageError(f'{where}: expected {kind.__name__}, found {value!r}')
    return value
