"""Fetches one file of the web: whole or not at all, going on where an earlier try stopped, its SHA-256 compared.

Several addresses are tried in turn. The SHA-256 seen first lies beside the file, in the form ``sha256sum -c`` reads; a
file that differs from it is refused.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tqdm import tqdm

from .atomic_files import sha256_of
from .errors import UsageError

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte
RESUMES = 5  # times that a connection which brought something is taken up again


class FetchError(OSError):
    """The file could not be had; the message is the short reason."""


class CutOffError(FetchError):
    """The connection ended early; what came stays for the next try."""


def fetch_first(urls: Sequence[str], target: Path, check: Callable[[Path], object] | None = None) -> str:
    """Fetch ``target`` from the first of ``urls`` that gives it, going on where a connection breaks; return that url.

    Args:
        urls: addresses of the same file.
        target: where it goes.
        check: called with the whole file before it takes its name; a UsageError of it sends us to the next address.

    Raises:
        FetchError: none gave it; the message names each with its reason.
    """
    reasons = []
    for url in urls:
        try:
            _fetch_on(url, target, check)
            return url
        except FetchError as error:
            reasons.append(f'{source_of(url)}: {error}' if len(urls) > 1 else str(error))
    raise FetchError('; '.join(reasons))


def source_of(url: str) -> str:
    """Return who gives the file: OWNER/REPOSITORY of GitHub, else the host."""
    parts = urlsplit(url)
    owner, _, rest = parts.path.strip('/').partition('/')
    return f'{owner}/{rest.partition("/")[0]}' if parts.hostname == 'github.com' else parts.netloc


def fetch(url: str, target: Path, check: Callable[[Path], object] | None = None) -> None:
    """Fetch ``url`` to ``target``; what has come so far stays in ``target`` + '.part' for the next try.

    Raises:
        FetchError: no connection, no such file there, the connection ended early (CutOffError), ``check`` refused the
            file, or ``target`` cannot be written.
    """
    part = _beside(target, '.part')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _open(url, part) as response:
            _receive(response, part, target.name)
        if check is not None:
            _check(check, part)
        os.replace(part, target)
    except FetchError:
        raise
    except (OSError, HTTPException) as error:
        raise FetchError(getattr(error, 'reason', None) or error) from error
    _beside(part, '.tag').unlink(missing_ok=True)


def check_beginning(path: Path, digest: str) -> None:
    """Raise UsageError unless the SHA-256 of ``path`` begins with ``digest``."""
    found = sha256_of(path)
    if not found.startswith(digest):
        raise UsageError(f'its SHA-256 begins with {found[: len(digest)]}, its authors say {digest}')


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


def _fetch_on(url: str, target: Path, check: Callable[[Path], object] | None) -> None:
    """Fetch, and go on after a cut, as long as each connection brings something."""
    part, have = _beside(target, '.part'), 0
    for _ in range(RESUMES):
        try:
            fetch(url, target, check)
        except CutOffError:
            before, have = have, part.stat().st_size if part.exists() else 0
            if have <= before:
                raise
        else:
            return
    fetch(url, target, check)


def _check(check: Callable[[Path], object], part: Path) -> None:
    """Call ``check``; what it refuses is not kept."""
    try:
        check(part)
    except UsageError as error:
        for left in (part, _beside(part, '.tag')):
            left.unlink(missing_ok=True)
        raise FetchError(f'not the file that it should be ({error})') from error


class _Redirects(HTTPRedirectHandler):
    """Follows a redirect unless it leads from https to something that others can read and change."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if req.type == 'https' and urlsplit(newurl).scheme != 'https':
            raise FetchError(f'redirected from https to {newurl}, which is refused')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, part: Path) -> HTTPResponse:
    """Ask for the rest of the file, if the part is surely of the same version, else for the whole."""
    tag = _beside(part, '.tag')
    headers = {'User-Agent': 'mmrbgan'}
    place, version = [*tag.read_text(encoding='utf-8').split('\n'), '', ''][:2] if tag.exists() else ('', '')
    if part.exists() and place == url and version:
        headers |= {'Range': f'bytes={part.stat().st_size}-', 'If-Range': version}
    try:
        response = cast(HTTPResponse, build_opener(_Redirects).open(Request(url, headers=headers), timeout=TIMEOUT))
    except HTTPError as error:
        if error.code != 416 or not part.exists():  # 416: the part is not shorter than the file
            raise
        part.unlink()
        return _open(url, part)
    if response.status != 206:
        part.unlink(missing_ok=True)
    tag.unlink(missing_ok=True)
    version = response.headers.get('ETag') or response.headers.get('Last-Modified') or ''
    if version and not version.startswith('W/'):
        tag.write_text(f'{url}\n{version}', encoding='utf-8')
    return response


def _receive(response: HTTPResponse, part: Path, name: str) -> None:
    """Append the response to the part, with a progress bar on a terminal."""
    have = part.stat().st_size if part.exists() else 0
    length = response.headers.get('Content-Length')
    if length is not None and not (length.isascii() and length.isdigit()):
        raise FetchError(f'the server states a length of {length[:20]!r}')
    total = have + int(length) if length else None
    with (
        open(part, 'ab', opener=_no_link) as file,
        tqdm(total=total, initial=have, unit='B', unit_scale=True, desc=name, disable=None) as bar,
    ):
        while chunk := _read(response):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())
    if total is not None and part.stat().st_size != total:
        raise CutOffError(f'the connection ended after {part.stat().st_size} of {total} bytes; run it again to go on')


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise CutOffError(f'the connection ended ({error}); run it again to go on') from error


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, 'O_NOFOLLOW', 0), 0o666)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
