"""The one exception a user can cause and cure: commands print its single line and end with exit status 2."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Bad input (a file, a key, a value); the message is one line that names it and the way out."""


def nearest_key(key: str, known: Iterable[str]) -> str:
    """Return ``key`` quoted with the known key it most resembles, for the end of an error line."""
    known = sorted(known)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f'did you mean {close[0]!r}?' if close else f'known keys: {", ".join(known)}'
    return f'unknown key {key!r}; {hint}'
