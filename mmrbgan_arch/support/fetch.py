"""Fetches one file of the web: whole or not at all, going on where an earlier try stopped, its SHA-256 pinned.

The SHA-256 seen first lies beside the file, in the form ``sha256sum -c`` reads; a file that differs from it is refused.
"""

import contextlib
import os
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from .atomic_files import sha256_of
from .errors import UsageError

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte


class FetchError(OSError):
    """The file could not be had; the message is the short reason."""


def fetch(url: str, target: Path) -> None:
    """Fetch ``url`` to ``target``; what has come so far stays in ``target`` + '.part' for the next try.

    Raises:
        FetchError: no connection, no such file there, the connection ended early, or ``target`` cannot be written.
    """
    part = _beside(target, '.part')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _open(url, part) as response:
            _receive(response, part, target.name)
    except (OSError, HTTPException) as error:
        raise FetchError(getattr(error, 'reason', None) or error) from error
    os.replace(part, target)
    _beside(part, '.tag').unlink(missing_ok=True)


def check_pinned(path: Path) -> str:
    """Compare the SHA-256 of ``path`` with the one that ``pin`` kept, if it did; return it.

    Raises:
        UsageError: it differs.
    """
    note = _note_of(path)
    digest = sha256_of(path)
    first = note.read_text(encoding='utf-8').split()[:1] if note.exists() else [digest]
    if first != [digest]:
        raise UsageError(
            f'{path}: its SHA-256 is {digest}, but the file first used here had {" ".join(first)}; delete it to fetch '
            f'it again, or delete {note.name} if you trust the new one'
        )
    return digest


def pin(path: Path) -> str:
    """Compare the SHA-256 of ``path`` with the one seen first, or keep it as such; return it.

    Raises:
        UsageError: it differs.
    """
    note, digest = _note_of(path), check_pinned(path)
    if not note.exists():
        with contextlib.suppress(OSError):  # a cache that others fill, and that is read-only here, serves unpinned
            note.write_text(f'{digest}  {path.name}\n', encoding='utf-8')
    return digest


def _note_of(path: Path) -> Path:
    return _beside(path, '.sha256')


def _open(url: str, part: Path) -> HTTPResponse:
    """Ask for the rest of the file, if the part is surely of the same version, else for the whole."""
    tag = _beside(part, '.tag')
    headers = {'User-Agent': 'mmrbgan'}
    if part.exists() and tag.exists():
        headers |= {'Range': f'bytes={part.stat().st_size}-', 'If-Range': tag.read_text(encoding='utf-8')}
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416:  # the part is not shorter than the file
            raise
        part.unlink()
        return _open(url, part)
    if response.status != 206:
        part.unlink(missing_ok=True)
    tag.unlink(missing_ok=True)
    version = response.headers.get('ETag') or response.headers.get('Last-Modified')
    if version and not version.startswith('W/'):
        tag.write_text(version, encoding='utf-8')
    return response


def _receive(response: HTTPResponse, part: Path, name: str) -> None:
    """Append the response to the part, with a progress bar on a terminal."""
    have = part.stat().st_size if part.exists() else 0
    length = response.headers.get('Content-Length')
    total = have + int(length) if length else None
    with (
        part.open('ab') as file,
        tqdm(total=total, initial=have, unit='B', unit_scale=True, desc=name, disable=None) as bar,
    ):
        while chunk := response.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())
    if total is not None and part.stat().st_size != total:
        raise FetchError(f'the connection ended after {part.stat().st_size} of {total} bytes; run it again to go on')


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
