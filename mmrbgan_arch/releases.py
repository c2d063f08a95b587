"""Public weights by name: files of ``public_weights`` that belong together, fetched and converted for use here."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .support.errors import UsageError, nearest_key
from .support.fetch import FetchError, check_pinned, pin
from .support.public_weights import FILES, PublicFile
from .support.user_cache import cache_folder

if TYPE_CHECKING:
    from torch import nn


def _gpen_generator(path: Path) -> 'nn.Module':
    from .gpen import convert_generator

    return convert_generator(path)


def _gpen_discriminator(path: Path) -> 'nn.Module':
    from .gpen import convert_discriminator

    return convert_discriminator(path)


def _arcface(path: Path) -> 'nn.Module':
    from .weights_io import read_network

    return read_network(path, 'MMRBGANArcFace')


@dataclass(frozen=True)
class Release:
    """Public weights: which files, what they may be used for, and how they become ours."""

    files: Mapping[str, tuple[str, Callable[[Path], 'nn.Module']]]
    """Key of their file in ``public_weights.FILES`` -> ours, and the function that reads theirs."""
    licence: str
    about: str
    """What they are, in a few words."""

    @property
    def takes(self) -> list[PublicFile]:
        """The files to fetch."""
        return [FILES[key] for key in self.files]

    @property
    def gives(self) -> list[str]:
        """Names of the converted files."""
        return [name for name, _ in self.files.values()]


GPEN_LICENCE = (
    "GPEN (https://github.com/yangxy/GPEN) states no licence for these weights: they stay their authors', and nothing "
    'here gives the right to pass them on or to use them commercially.'
)
ARCFACE_LICENCE = (
    'Published with GFPGAN (https://github.com/TencentARC/GFPGAN) without a licence of its own; its training data are '
    'for research.'
)


def _gpen(size: int) -> Release:
    files = {
        f'gpen_{size}': ('net_g.pth', _gpen_generator),
        f'gpen_{size}_d': ('net_d.pth', _gpen_discriminator),
    }
    return Release(files, GPEN_LICENCE, f"GPEN's generator and discriminator for faces of {size} px")


RELEASES = {
    'gpen-bfr-512': _gpen(512),
    'gpen-bfr-256': _gpen(256),
    'arcface-resnet18': Release(
        {'arcface': ('net_identity.pth', _arcface)}, ARCFACE_LICENCE, 'the recogniser of the identity loss'
    ),
}


def get(name: str, offline: bool = False) -> list[Path]:
    """Have the release ``name`` in the cache, fetched, pinned and converted; return the converted files.

    Raises:
        UsageError: an unknown name, a file that cannot be had (the line says what to fetch by hand and where to put
            it; what could be had is converted and serves), a file that differs from the one first used, or one that
            holds something else.
    """
    from .weights_io import write_networks

    release, raw, networks = release_of(name), cache_folder('weights'), dict[str, 'nn.Module']()

    def convert(key: str, path: Path) -> None:
        ours, read = release.files[key]
        networks[ours] = read(path)

    missing = [key for key in release.files if not (raw / FILES[key].name).is_file()]
    trouble = _fetch_all(missing, raw, convert, offline)
    here = {key: raw / FILES[key].name for key in release.files if (raw / FILES[key].name).is_file()}
    for path in here.values():
        check_pinned(path)
    for key, path in here.items():
        if key not in missing:
            convert(key, path)
        pin(path)
    write_networks(networks, raw / name)
    if trouble:
        ready = f'; {", ".join(networks)} of {name} can be used without it' if networks else ''
        raise UsageError(trouble + ready)
    return [raw / name / file for file in release.gives]


def _fetch_all(missing: list[str], folder: Path, convert: Callable[[str, Path], None], offline: bool) -> str:
    """Fetch from the first address whose file converts; return what went wrong and the way out, or ''."""
    if missing and offline:
        return f'--offline: {_by_hand(missing, folder)}'
    failed: dict[str, str] = {}
    for key in missing:
        try:
            FILES[key].fetch(folder, functools.partial(convert, key))
        except FetchError as error:
            failed[key] = f'{FILES[key].name} could not be fetched ({error})'
    return f'{"; ".join(failed.values())}; {_by_hand(list(failed), folder)}' if failed else ''


def find(name: str) -> Path | None:
    """Return the converted first network of the release ``name``, or None where no release has that name.

    Raises:
        UsageError: it is not in the cache yet; the line names the command that gets it.
    """
    if name not in RELEASES:
        return None
    path = cache_folder('weights') / name / RELEASES[name].gives[0]
    if not path.is_file():
        raise UsageError(f'{name}: not here yet; run `mmrbgan weights get {name}`')
    return path


def release_of(name: str) -> Release:
    """Return the release called so.

    Raises:
        UsageError: no release has that name.
    """
    if name not in RELEASES:
        raise UsageError(f'weights: {nearest_key(name, RELEASES).replace("unknown key", "unknown name")}')
    return RELEASES[name]


def _by_hand(missing: list[str], folder: Path) -> str:
    addresses = ' and '.join(' or '.join(FILES[key].urls) for key in missing)
    return f'fetch {addresses} by hand, put it into {folder} (MMRBGAN_HOME chooses another place) and run this again'
