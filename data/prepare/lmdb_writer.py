"""Writes an LMDB of encoded images that ``images.ImageSource`` and BasicSR's datasets read: whole or not at all.

A key is the name without suffix, as BasicSR has it, and meta_info.txt is its list. Names that BasicSR cannot have (a
dot, another alphabet, too long) have numbers for keys and stand in our own list alone, meta.json. The map is sized from
the total and grows when that was not enough; everything is built in a temporary folder that is renamed at the end.
"""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmrbgan_arch.support.atomic_files import write_bytes, write_text

from ..images import BASICSR_META_FILE, META_FILE, LmdbKeys, close_lmdb, import_lmdb, plain_size

PAGE = 4096  # bytes, LMDB's on most systems
BASICSR_KEY = re.compile(r'(?!\d{8}$)[\w /-]{1,500}', re.ASCII)  # what its datasets take; eight digits are ours
BATCH = 64 * 2**20  # bytes per transaction: memory stays small however large the set


def write_lmdb(target: Path, images: Iterable[tuple[str, bytes]], total_bytes: int, extra: Iterable[Path] = ()) -> None:
    """Write ``images`` to the folder ``target`` (``*.lmdb``), replacing one that is there; OSError if that fails.

    Args:
        target: the folder.
        images: (name, encoded image); read once, in order.
        total_bytes: about the sum of their sizes.
        extra: files to copy beside the images (component boxes, landmarks).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f'.{target.name}.building*'):  # by a killed run
        shutil.rmtree(left, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=f'.{target.name}.building', dir=target.parent))
    building.chmod(0o777 & ~_umask())
    try:
        keys, lines = _write_images(building, images, total_bytes)
    except import_lmdb().Error as error:  # how LMDB tells of a full disk
        shutil.rmtree(building, ignore_errors=True)
        raise OSError(errno.EIO, str(error), str(target)) from error
    meta = json.dumps({'files': list(keys), 'keys': list(keys.values())}, ensure_ascii=False)
    write_text(building / META_FILE, meta)
    write_text(building / BASICSR_META_FILE, ''.join(lines))
    for path in extra:
        write_bytes(building / path.name, path.read_bytes())
    _replace(building, target)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_images(folder: Path, images: Iterable[tuple[str, bytes]], total: int) -> tuple[dict[str, str], list[str]]:
    """Write the images; return name -> key, and the lines of BasicSR's list."""
    keys: dict[str, str] = {}
    lines: list[str] = []
    taken: set[str] = set()
    with import_lmdb().open(str(folder), map_size=PAGE * 256 + total * 5 // 4, map_async=True) as environment:
        batch: list[tuple[bytes, bytes]] = []
        size = 0
        for name, content in images:
            stem = name.rpartition('.')[0]
            if BASICSR_KEY.fullmatch(stem) and stem not in taken:
                width, height = plain_size(content) or (0, 0)
                lines.append(f'{stem}.png ({height},{width},3) 1\n')
                taken.add(stem)
                keys[name] = stem
            else:
                keys[name] = LmdbKeys.key(len(keys))
            batch.append((keys[name].encode(), content))
            size += len(content)
            if size > BATCH:
                _commit(environment, batch)
                batch, size = [], 0
        _commit(environment, batch)
    (folder / 'lock.mdb').unlink(missing_ok=True)  # readers do not lock
    return keys, lines


def _commit(environment: Any, batch: list[tuple[bytes, bytes]]) -> None:
    """Write one transaction, with a larger map if it does not fit."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, content in batch:
                    transaction.put(key, content)
            return
        except import_lmdb().MapFullError:
            environment.set_mapsize(2 * environment.info()['map_size'])


def restore_lmdb(target: Path) -> None:
    """Put back the old ``target`` where a stop fell between its going and the coming of the new one."""
    old = _old(target)
    if old.is_dir() and not target.exists():
        os.replace(old, target)


def _old(target: Path) -> Path:
    return target.with_name(f'.{target.name}.old')


def _replace(building: Path, target: Path) -> None:
    """Put ``building`` in the place of ``target``; what was there goes only when the new one stands."""
    close_lmdb(target)
    old = _old(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(building, target)
    shutil.rmtree(old, ignore_errors=True)
