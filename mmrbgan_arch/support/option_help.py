"""Reads what a description of options says, for documents and the JSON schema: the text below each field."""

import ast
import dataclasses
import inspect
import textwrap
from typing import Any


def field_help(cls: type) -> dict[str, str]:
    """Return field -> the text below it, of a dataclass and of those that it extends."""
    found: dict[str, str] = {}
    for base in reversed(inspect.getmro(cls)):
        if dataclasses.is_dataclass(base):
            found |= _texts(base)
    return found


def argument_help(function: Any) -> dict[str, str]:
    """Return argument -> its text in the section Args of a function's docstring, or of a class's constructor's."""
    target = function.__init__ if inspect.isclass(function) else function
    text = inspect.cleandoc(target.__doc__ or '')
    if not (found := text.partition('Args:')[2]):
        return {}
    section = found.partition('\n\n')[0]
    entries: dict[str, str] = {}
    name = ''
    for line in section.splitlines():
        head, colon, rest = line.strip().partition(': ')
        if colon and head.isidentifier() and len(line) - len(line.lstrip()) <= 4:
            name, entries[head] = head, rest
        elif name:
            entries[name] += f' {line.strip()}'
    return entries


def summary(cls: Any) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(cls) or '').partition('\n')[0]


def _texts(cls: type) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            found[field.target.id] = ' '.join(str(below.value.value).split())  # type: ignore[attr-defined]
    return found
