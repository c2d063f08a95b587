"""Which files of a folder are photographs: by name, else by content; what is skipped is listed, too."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from .image_formats import RAW_SUFFIXES, SUFFIXES, WEAK_FORMATS, is_heic, readable_formats

HIDDEN, UNREADABLE, LINKED_BACK = 'hidden', 'unreadable folder', 'link to a folder seen before'


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a folder.

    Attributes:
        names: of the photographs, relative, with slashes, sorted.
        skipped: (name, kind) of all others; the kind is the suffix, or a few words.
    """

    names: list[str]
    skipped: list[tuple[str, str]]


def list_photographs(folder: str | Path, leave_out: Iterable[str | Path] = ()) -> Listing:
    """Return what is a photograph under ``folder`` and what is not; each real folder is walked once.

    Args:
        folder: walked with all folders in it; links to folders are followed.
        leave_out: folders that are not entered, without a word.
    """
    left_out = {os.path.realpath(path) for path in leave_out}
    seen = {os.path.realpath(folder)}
    names: list[str] = []
    skipped: list[tuple[str, str]] = []
    pending = ['']
    while pending:
        prefix = pending.pop()
        try:
            with os.scandir(f'{folder}/{prefix}') as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            skipped.append((prefix.rstrip('/'), UNREADABLE))
            continue
        for entry in found:
            name = prefix + entry.name
            if _is(entry.is_dir):
                real = os.path.realpath(entry.path)
                if real in left_out:
                    continue
                reason = HIDDEN if entry.name.startswith('.') else LINKED_BACK if real in seen else None
                if reason is None:
                    seen.add(real)
                    pending.append(f'{name}/')
                else:
                    skipped.append((name, reason))
            elif reason := _why_not(entry):
                skipped.append((name, reason))
            else:
                names.append(name)
    return Listing(sorted(names), sorted(skipped))


def tell_skipped(kinds: Iterable[str]) -> str:
    """Return '9 files skipped: 7 .mp4, 2 .pdf', the commonest kind first; nothing for none."""
    counts = Counter(kinds)
    total = sum(counts.values())
    parts = ', '.join(f'{count} {kind}' for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return f'{total} {"file" if total == 1 else "files"} skipped: {parts}' if total else ''


def kind_of(name: str) -> str:
    """Return what a skipped file counts as: its suffix."""
    return os.path.splitext(name)[1].lower() or 'without suffix'


def is_photograph(path: str | Path) -> bool:
    """Say whether the content of a file is one that is read; it is not decoded."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix in RAW_SUFFIXES:
        return False
    try:
        with open(path, 'rb') as file:
            if is_heic(file.read(64)):
                return True
            file.seek(0)
            with Image.open(file, formats=readable_formats()) as image:
                found = str(image.format)
    except Exception:  # decoders answer other files with any exception
        return False
    return found not in WEAK_FORMATS or Image.registered_extensions().get(suffix) == found


def _why_not(entry: 'os.DirEntry[str]') -> str | None:
    suffix = os.path.splitext(entry.name)[1].lower()
    if entry.name.startswith('.'):
        return HIDDEN
    if suffix in SUFFIXES:  # a damaged one is to fail with its reason, not to be skipped
        return None
    return None if _is(entry.is_file) and is_photograph(entry.path) else kind_of(entry.name)


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # links in a circle
        return False
