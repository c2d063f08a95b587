"""Remembers in an output folder what was written there, so that results are not taken for photographs, nor the reverse.

One hidden file lies in the folder, one line of JSON per file written: its name, below the folder, and its size. A file
that has another size by now was changed by somebody and is no longer a result. Processes that share a folder write a
file each, which also has a line for every photograph that is finished; ``fold`` makes one of them.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmrbgan_arch.support.atomic_files import append_bytes, write_bytes
from mmrbgan_arch.support.json_text import parse_json

MARKER = '.mmrbgan_results'


class OwnResults:
    """The results in the folder ``root``; what the files say is compared with names, never used as one.

    Args:
        root: the folder.
        part: ending of this process's file, where several share the folder.
    """

    def __init__(self, root: Path, part: str = '') -> None:
        self.root = root
        self._path = root / f'{MARKER}{part}'
        self._sizes: dict[str, set[int]] = {}
        for name, size in _results(root):
            self._sizes.setdefault(name, set()).add(size)
        self._begun = False

    def __bool__(self) -> bool:
        return bool(self._sizes)

    def has(self, path: Path) -> bool:
        """Say whether ``path``, below the folder, is as it was written here."""
        with contextlib.suppress(OSError):
            return path.lstat().st_size in self._sizes.get(_name(path, self.root), ())
        return False

    def add(self, path: Path, size: int) -> None:
        """Note that ``path`` is about to be written; call it before, so that a kill leaves no unknown result."""
        name = _name(path, self.root)
        if self._path.name == MARKER and not self._begun:
            others = [_line(name, size) for name, size in self._all() if name != _name(path, self.root)]
            write_bytes(self._path, b''.join([*others, _line(name, size)]))
            self._begun = True
        else:
            self._append(_line(name, size))
        self._sizes[name] = {size}

    def finish(self, note: dict[str, Any]) -> None:
        """Note what is to be known of a photograph that is finished."""
        self._append(json.dumps(note).encode() + b'\n')

    def finished(self) -> Iterator[dict[str, Any]]:
        """Yield all notes of ``finish`` in this folder, of all processes."""
        yield from (each for each in _entries(self.root) if isinstance(each, dict))

    def fold(self) -> None:
        """Make one list of the processes' lists, without their notes; called by one process when all have ended."""
        parts = [path for path in _files(self.root) if path.name != MARKER]
        latest = dict(_results(self.root))
        if parts:
            write_bytes(self.root / MARKER, b''.join(_line(*each) for each in latest.items()))
        for path in parts:
            path.unlink()

    def _all(self) -> Iterator[tuple[str, int]]:
        return ((name, size) for name, sizes in self._sizes.items() for size in sizes)

    def _append(self, line: bytes) -> None:
        """Append to this process's file; a line that a kill left half-written is ended first."""
        if not self._begun:
            self._begun = True
            if not self._path.is_file():
                write_bytes(self._path, line)
                return
            line = b'\n' + line
        append_bytes(self._path, line)


def is_list(name: str) -> bool:
    """Say whether a file called so is a list of results."""
    return re.fullmatch(rf'{re.escape(MARKER)}(\.\d+)?', name) is not None


def _name(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _line(name: str, size: int) -> bytes:
    return json.dumps([name, size]).encode() + b'\n'


def _files(root: Path) -> list[Path]:
    """Return the folder's lists of results, the common one first."""
    return sorted(path for path in root.glob(f'{MARKER}*') if is_list(path.name))


def _entries(root: Path) -> Iterator[Any]:
    """Yield every line of the lists; lines that are damaged are of no use and do no harm."""
    for path in _files(root):
        with contextlib.suppress(OSError):
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    yield parse_json(line)


def _results(root: Path) -> Iterator[tuple[str, int]]:
    for entry in _entries(root):
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], int):
            yield entry[0], entry[1]
