"""Remembers in an output folder what was written there, so that results are not taken for photographs, nor the reverse.

One hidden file lies in the folder, one line of JSON per file written: its name, below the folder, and its size. A file
that has another size by now was changed by somebody and is no longer a result.
"""

import contextlib
import json
import os
from pathlib import Path

from mmrbgan_arch.support.atomic_files import append_bytes, write_bytes
from mmrbgan_arch.support.json_text import parse_json

MARKER = '.mmrbgan_results'


class OwnResults:
    """The results in the folder ``root``; what the file says is compared with names, never used as one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sizes = _read(root / MARKER)
        self._begun = False

    def __bool__(self) -> bool:
        return bool(self._sizes)

    def has(self, path: Path) -> bool:
        """Say whether ``path``, below the folder, is as it was written here."""
        name = _name(path, self.root)
        if name not in self._sizes:
            return False
        with contextlib.suppress(OSError):
            return path.lstat().st_size == self._sizes[name]
        return False

    def add(self, path: Path, size: int) -> None:
        """Note that ``path`` is about to be written; call it before, so that a kill leaves no unknown result."""
        name = _name(path, self.root)
        if not self._begun:
            lines = [_line(*each) for each in self._sizes.items() if each[0] != name]
            write_bytes(self.root / MARKER, b''.join([*lines, _line(name, size)]))
            self._begun = True
        else:
            append_bytes(self.root / MARKER, _line(name, size))
        self._sizes[name] = size


def _name(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _line(name: str, size: int) -> bytes:
    return json.dumps([name, size]).encode() + b'\n'


def _read(path: Path) -> dict[str, int]:
    """Return name -> size; lines that are damaged are of no use and do no harm."""
    sizes: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, TypeError):
                name, size = parse_json(line)
                if isinstance(name, str) and isinstance(size, int):
                    sizes[name] = size
    return sizes
