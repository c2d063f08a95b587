"""Where results go: every file inside the folder the user named, never over an input, whole or not at all."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from mmrbgan_arch.support.atomic_files import write_bytes
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.images import SUFFIXES


class OutputFolder:
    """Hands out file names inside ``root`` and writes to them.

    Args:
        root: the folder; made when first written to.
        inputs: files that must not be overwritten.
    """

    def __init__(self, root: Path, inputs: Iterable[Path] = ()) -> None:
        self.root = root
        self._inputs = {os.path.realpath(path) for path in inputs}
        self._taken: set[str] = set()

    def path_for(self, relative: PurePosixPath, suffix: str) -> Path:
        """Return a path for ``relative`` with another suffix, different from all before."""
        stem, count = relative.with_suffix(''), 1
        path = f'{stem}{suffix}'
        while path.lower() in self._taken:
            count += 1
            path = f'{stem}_{count}{suffix}'
        self._taken.add(path.lower())
        return self.root / path

    def write(self, path: Path, content: bytes) -> None:
        """Write ``content``; a link in the way is replaced, not followed.

        Raises:
            UsageError: as ``check`` does.
        """
        self.check(path)
        write_bytes(path, content)

    def check(self, path: Path) -> None:
        """Refuse what must not be written.

        Raises:
            UsageError: the path leaves the folder, or is an input.
        """
        root, parent = self.root.resolve(), path.parent.resolve()
        if not parent.is_relative_to(root):
            raise UsageError(f'{path}: leaves {self.root} through a link; nothing written')
        if os.path.realpath(parent / path.name) in self._inputs:
            raise UsageError(f'{path}: is an input; name another folder with -o')


def list_photos(inputs: Iterable[str], output: Path) -> list[tuple[Path, PurePosixPath]]:
    """Return each photograph and its name below the output folder; folders are walked, links in a circle once.

    Args:
        inputs: files and folders.
        output: left out where it lies in an input folder: what is in it are results.

    Raises:
        UsageError: an input is missing, or a folder holds no photograph.
    """
    found: list[tuple[Path, PurePosixPath]] = []
    for name in inputs:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(_walk(path, output))
            if not inside:
                raise UsageError(f'{name}: no photograph in it; known kinds: {", ".join(sorted(SUFFIXES))}')
            found += [(path / relative, relative) for relative in inside]
        elif os.path.lexists(path):
            found.append((path, PurePosixPath(path.name)))
        else:
            raise UsageError(f'{name}: no such file or folder')
    return found


def _walk(folder: Path, output: Path) -> Iterator[PurePosixPath]:
    seen = {os.path.realpath(folder), os.path.realpath(output)}
    for parent, folders, files in os.walk(folder, followlinks=True):
        new = {os.path.realpath(Path(parent, name)): name for name in sorted(folders) if not name.startswith('.')}
        folders[:] = [name for path, name in new.items() if path not in seen]
        seen.update(new)
        inside = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        names = [name for name in files if Path(name).suffix.lower() in SUFFIXES and not name.startswith('.')]
        yield from (inside / name for name in names)
