"""Public weights by name: their authors' own address, fetched into the cache folder and converted for use here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .support.errors import UsageError, nearest_key
from .support.fetch import FetchError, check_pinned, fetch, pin
from .support.public_weights import FILES
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
    """Public weights: where their authors put them, what they may be used for, and how they become ours."""

    address: str
    files: Mapping[str, tuple[str, Callable[[Path], 'nn.Module']]]
    """Their file -> ours, and the function that reads theirs."""
    licence: str

    @property
    def gives(self) -> list[str]:
        """Names of the converted files."""
        return [name for name, _ in self.files.values()]


GPEN_ADDRESS = 'https://public-vigen-video.oss-cn-shanghai.aliyuncs.com/robin/models/'
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
        f'GPEN-BFR-{size}.pth': ('net_g.pth', _gpen_generator),
        f'GPEN-BFR-{size}-D.pth': ('net_d.pth', _gpen_discriminator),
    }
    return Release(GPEN_ADDRESS, files, GPEN_LICENCE)


RELEASES = {
    'gpen-bfr-512': _gpen(512),
    'gpen-bfr-256': _gpen(256),
    'arcface-resnet18': Release(
        FILES['arcface'].address, {FILES['arcface'].name: ('net_identity.pth', _arcface)}, ARCFACE_LICENCE
    ),
}


def get(name: str, offline: bool = False) -> list[Path]:
    """Have the release ``name`` in the cache, fetched, pinned and converted; return the converted files.

    Raises:
        UsageError: an unknown name, a file that cannot be had (the line says what to fetch by hand and where to put
            it), a file that differs from the one first used, or one that holds something else.
    """
    from .weights_io import write_networks

    release, raw = release_of(name), cache_folder('weights')
    files = [raw / file for file in release.files]
    missing = [file for file in files if not file.is_file()]
    if missing and offline:
        raise UsageError(f'--offline: {_by_hand(release, missing)}')
    for file in missing:
        try:
            fetch(release.address + file.name, file)
        except FetchError as error:
            rest = [file for file in missing if not file.is_file()]
            raise UsageError(f'{file.name} could not be fetched ({error}); {_by_hand(release, rest)}') from error
    for file in files:
        check_pinned(file)
    networks = {release.files[file.name][0]: _convert(release, file, file in missing) for file in files}
    for file in files:
        pin(file)
    write_networks(networks, raw / name)
    return [raw / name / file for file in release.gives]


def _convert(release: Release, file: Path, fetched: bool) -> 'nn.Module':
    """Convert; what was just fetched and is not the weights, such as a network's log-in page, is not kept."""
    try:
        return release.files[file.name][1](file)
    except UsageError as error:
        if not fetched:
            raise
        file.unlink(missing_ok=True)
        raise UsageError(f'{error}; removed what was fetched, {file.name}; {_by_hand(release, [file])}') from error


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


def _by_hand(release: Release, missing: list[Path]) -> str:
    addresses = ' and '.join(release.address + file.name for file in missing)
    folder = f'{missing[0].parent} (MMRBGAN_HOME chooses another place)'
    return f'fetch {addresses} by hand, put it into {folder} and run this again'
