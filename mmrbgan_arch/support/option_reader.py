"""Reads a mapping from a yml once into a frozen dataclass: unknown keys and wrong types are one clear line each."""

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, TypeVar

from .errors import UsageError, nearest_key

T = TypeVar('T')


def read_options(cls: type[T], mapping: Mapping[str, Any] | None, where: str) -> T:
    """Build the frozen dataclass ``cls`` from ``mapping`` without changing ``mapping``.

    Nested dataclasses, ``X | None``, ``tuple[...]`` (from a list), ``Mapping`` and plain types are understood; an int
    is taken where a float is asked, and numbers are finite. ``Annotated[X, Range(...)]`` and ``Pattern`` are checked
    (see ``ranges``). A ValueError of the dataclass's own ``__post_init__`` gets the place in front.

    Args:
        cls: a dataclass whose fields are the known keys.
        mapping: the section of the yml; None counts as empty.
        where: the section's place in the yml, such as ``train.optim_g``, for error lines.

    Raises:
        UsageError: an unknown key, a missing key, or a value of the wrong type or range, named with its place.
    """
    if not isinstance(mapping, Mapping) and mapping is not None:
        raise UsageError(f'{where}: expected keys and values, found {mapping!r}')
    mapping = mapping or {}
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise UsageError(_at(where, nearest_key(str(key), fields)))
    for name, field in fields.items():
        if name not in mapping and field.default is field.default_factory is dataclasses.MISSING:
            raise UsageError(f'{_place(where, name)}: missing, and it has no default')
    values = {key: convert(value, hints[key], _place(where, key)) for key, value in mapping.items()}
    try:
        return cls(**values)
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(_at(where, str(error))) from error


def check_arguments(
    function: Callable[..., Any],
    mapping: Mapping[str, Any],
    where: str,
    known: Collection[str] = (),
    strict: bool = False,
) -> None:
    """Check a section that is handed to ``function`` as keyword arguments; its signature is the description.

    A parameter without annotation takes what is of its default's type.

    Args:
        function: what is called, a class or a function.
        mapping: the section of the yml.
        where: its place in the yml.
        known: further keys of the section and of the function that are not the user's to check here.
        strict: refuse unknown keys of a function that takes them all, too.

    Raises:
        UsageError: an unknown key, a missing key, or a value of the wrong type or range.
    """
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name not in known}
    hints = _hints(function)
    takes_all = not strict and any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    named = {name: p for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    for key, value in mapping.items():
        if key in named:
            convert(value, hints.get(key, _type_of_default(named[key].default)), f'{where}.{key}')
        elif key not in known and not takes_all:
            raise UsageError(f'{where}: {nearest_key(str(key), {*named, *known} - {"self"})}')
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in mapping:
            raise UsageError(f'{where}.{name}: missing, and it has no default')


def convert(value: Any, hint: Any, where: str) -> Any:
    """Return ``value`` as the annotated type ``hint``.

    Raises:
        UsageError: it is of another type or outside its range; ``where`` is named.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        return _convert_annotated(value, arguments, where)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, arguments, where)
    if origin is typing.Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise UsageError(f'{where}: {value!r} is none of {", ".join(map(repr, arguments))}')
        return value
    if origin is tuple:
        return _convert_tuple(value, arguments, where)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else read_options(hint, value, where)  # type: ignore[arg-type]
    return _convert_plain(value, origin or hint, where)


def _convert_annotated(value: Any, arguments: tuple[Any, ...], where: str) -> Any:
    converted = convert(value, arguments[0], where)
    for rule in arguments[1:]:
        fault = rule.fault(converted) if hasattr(rule, 'fault') else None
        if fault:
            raise UsageError(f'{where}: {fault}')
    return converted


def _convert_union(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in choices:
        return None
    errors = []
    for choice in (choice for choice in choices if choice is not type(None)):
        try:
            return convert(value, choice, where)
        except UsageError as error:
            errors.append(str(error))
    first, *others = errors
    raise UsageError('; or '.join([first, *(error.removeprefix(f'{where}: ') for error in others)]))


def _convert_tuple(value: Any, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise UsageError(f'{where}: expected a list, found {value!r}')
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise UsageError(f'{where}: expected {len(arguments)} values, found {len(value)}')
    return tuple(
        convert(item, hint, f'{where}[{i}]') for i, (item, hint) in enumerate(zip(value, arguments, strict=True))
    )


def _convert_plain(value: Any, kind: type, where: str) -> Any:
    is_bool = isinstance(value, bool)
    if kind is float and isinstance(value, int) and not is_bool and abs(value) < 2**63:
        return float(value)
    if not isinstance(value, kind) or (is_bool and kind in (int, float)):
        raise UsageError(f'{where}: expected {kind.__name__}, found {value!r}')
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f'{where}: expected a finite number, found {value!r}')
    return value


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function, of a class's constructor, none where they cannot be read."""
    target = function.__init__ if inspect.isclass(function) else function
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError):  # another project's, of names that are not there at run time
        return {}


def _type_of_default(default: Any) -> Any:
    if isinstance(default, bool | str):
        return type(default)
    return float if isinstance(default, int | float) else Any


def _place(where: str, key: Any) -> str:
    return f'{where}.{key}' if where else str(key)


def _at(where: str, line: str) -> str:
    return f'{where}: {line}' if where else line
