"""Where results go: inside the folder the user named, never over what is not a result, whole or not at all."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from mmrbgan_arch.support.atomic_files import remove_partial_files, write_bytes
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.image_formats import FILM_SUFFIXES
from mmrbgan_data.photograph_files import Listing, list_photographs, tell_skipped

from .own_results import OwnResults, is_list

LONGEST_NAME = 255  # bytes, on most systems
OWN_RESULT = 'result of an earlier run'


class OutputFolder:
    """Hands out file names inside ``root`` and writes to them.

    Args:
        root: the folder; made when first written to.
        inputs: files that must not be overwritten.
        remember: keep a list of results in the folder, and write over nothing else; False for a file the user named.
        part: ending of the list, where processes share the folder.
    """

    def __init__(self, root: Path, inputs: Iterable[Path] = (), remember: bool = True, part: str = '') -> None:
        self.root = root
        self._inputs = {os.path.realpath(path) for path in inputs}
        self._taken: set[str] = set()
        self._own = OwnResults(root, part) if remember else None

    def path_for(self, relative: PurePosixPath, suffix: str, ending: str = '') -> Path:
        """Return a path for ``relative`` with another suffix, different from all before, free or a result of ours.

        Args:
            relative: below the folder.
            suffix: in the place of its own.
            ending: put between the name and the suffix; a name that grows too long is cut.
        """
        count = 1
        while True:
            end = f'{ending}{f"_{count}" if count > 1 else ""}{suffix}'
            stem = relative.stem
            while len(os.fsencode(stem + end)) > LONGEST_NAME and len(stem) > 1:
                stem = stem[:-1]
            path = str(relative.with_name(stem + end))
            if path.lower() not in self._taken and self._is_free(self.root / path):
                self._taken.add(path.lower())
                return self.root / path
            count += 1

    def write(self, path: Path, content: bytes) -> None:
        """Write ``content``; a link in the way is replaced, not followed.

        Raises:
            UsageError: as ``check`` does.
        """
        self.note(path, len(content))
        write_bytes(path, content)

    def note(self, path: Path, size: int) -> None:
        """Say that a result of ``size`` bytes is about to be written to ``path``.

        Raises:
            UsageError: as ``check`` does.
        """
        self.check(path)
        if self._own is not None:
            self._own.add(path, size)

    def finish(self, key: str, files: Iterable[Path], report: dict[str, Any]) -> None:
        """Note that the photograph ``key`` is finished, with the ``files`` written for it and its report."""
        if self._own is not None:
            names = [path.relative_to(self.root).as_posix() for path in files]
            self._own.finish({'key': key, 'files': names, 'report': report})

    def finished(self) -> dict[str, tuple[list[str], dict[str, Any]]]:
        """Return by key what ``finish`` noted here, in any process, as long as the files are as they were written."""
        found = {}
        for note in self._own.finished() if self._own is not None else ():
            files, report = note.get('files'), note.get('report')
            if isinstance(files, list) and isinstance(report, dict) and all(self._is_own(name) for name in files):
                found[str(note.get('key'))] = (files, report)
        return found

    def take(self, files: Iterable[str]) -> None:
        """Keep ``path_for`` from handing out the names of results that are finished."""
        self._taken.update(name.lower() for name in files)

    def fold(self, inputs: Iterable[PurePosixPath]) -> None:
        """Make one list of the processes' lists, and remove what killed ones left half-written.

        Called by one process when all have done their shares of ``inputs``, names below the folder.
        """
        root = self.root.resolve()
        for folder in {root / relative.parent for relative in inputs}:
            if folder.resolve().is_relative_to(root):
                remove_partial_files(folder)
        if self._own is not None:
            self._own.fold()

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

    def _is_own(self, name: object) -> bool:
        return isinstance(name, str) and self._own is not None and self._own.has(self.root / name)

    def _is_free(self, path: Path) -> bool:
        """Say whether nothing would be lost at ``path``: there is nothing, a link (not followed), or our own result."""
        if os.path.realpath(path.parent.resolve() / path.name) in self._inputs:
            return False
        return self._own is None or not os.path.lexists(path) or path.is_symlink() or self._own.has(path)


def list_inputs(inputs: Iterable[str], output: Path) -> tuple[list[tuple[Path, PurePosixPath]], list[str]]:
    """Return each photograph and film with its name below the output folder, and the kinds of the files skipped.

    Args:
        inputs: files and folders; folders are walked, links in a circle once.
        output: left out where it lies in an input folder; where it is one, results in it are.

    Raises:
        UsageError: an input is missing, or a folder holds no photograph.
    """
    found: list[tuple[Path, PurePosixPath]] = []
    skipped: list[str] = []
    for name in inputs:
        path = Path(name).expanduser()
        if path.is_dir():
            is_output = os.path.realpath(path) == os.path.realpath(output)
            listing = list_photographs(path, () if is_output else [output])
            names, own = _without_results(path, listing, is_output)
            others = [(place, kind) for place, kind in listing.skipped if kind not in FILM_SUFFIXES]
            kinds = [kind for place, kind in others if not is_list(PurePosixPath(place).name)] + own
            if not names:
                raise UsageError(
                    f'{name}: no photograph or film in it' + (f' ({tell_skipped(kinds)})' if kinds else '')
                )
            found += [(path / relative, PurePosixPath(relative)) for relative in names]
            skipped += kinds
        elif os.path.lexists(path):
            found.append((path, PurePosixPath(path.name)))
        else:
            raise UsageError(f'{name}: no such file or folder')
    return found, skipped


def _without_results(folder: Path, listing: Listing, is_output: bool) -> tuple[list[str], list[str]]:
    """Return the photographs and films that are no results of earlier runs, and a kind for each that is.

    A folder of results that is named itself is to be restored again, unless the new results go there, too.
    """
    marked = {PurePosixPath(place).parent for place, _ in listing.skipped if is_list(PurePosixPath(place).name)}
    results = [OwnResults(folder / place) for place in marked if is_output or place != PurePosixPath('.')]
    found = sorted([*listing.names, *(place for place, kind in listing.skipped if kind in FILM_SUFFIXES)])
    names = [name for name in found if not any(own.has(folder / name) for own in results)]
    return names, [OWN_RESULT] * (len(found) - len(names))
