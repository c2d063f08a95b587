"""Restores photographs: finds the faces, aligns them, runs the network, pastes them back. Needs no BasicSR, no GPU.

``Restorer.restore`` takes one photograph, ``Restorer.restore_many`` any number of them: reading and detecting, the
network, and pasting and writing then overlap, and faces of several photographs share a batch.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.alignment import alignment_matrix, resize_matrix, warp
from mmrbgan_data.detected_face import Detector
from mmrbgan_data.detection import is_retinaface, make_detector

from .default_weights import choose_weights
from .face_choice import FaceFile, choose_faces
from .files.inputs import Photo, as_picture
from .files.photo_file import Picture, resize_picture, to_8_bits, to_bytes, to_grey
from .files.stream import stream
from .identity_guard import Similarity, guard_strength, known_recogniser, load_similarity
from .masks import choose_mask, is_parsenet
from .onnx_network import OnnxNetwork, pick_engine
from .paste import FaceChange, keep_colour, paste_faces
from .results import Face, RestoredPhoto
from .settings import Settings
from .stage_times import StageTimes
from .tone import is_neutral, keep_tone

if TYPE_CHECKING:
    from .face_network import FaceNetwork


@dataclasses.dataclass(eq=False)
class Job:
    """A photograph on its way: read and aligned, not yet restored."""

    name: str
    picture: Picture
    faces: list[Face]
    crops: list[np.ndarray]
    settings: Settings

    @property
    def pixels(self) -> int:
        """Number of pixels, for the bound on memory."""
        result: int = self.picture.pixels.shape[0] * self.picture.pixels.shape[1]
        return result


class Restorer:
    """Restores faces in photographs.

    Args:
        weights: .pth or .safetensors of ours, the name of a converted public release, or None for the packaged ones.
        device: auto, cpu, cuda, cuda:1, mps.
        engine: torch, onnx (onnxruntime, on the CPU), or auto: onnx where that starts sooner and gives the same.
        detector: auto (centerface), centerface, dlib, retinaface, retinaface-resnet50, or a callable from RGB uint8
            (h, w, 3) to faces.
        detector_weights: path of CenterFace's or RetinaFace's file.
        mask: auto (ParseNet if its weights are in the cache, else ellipse), ellipse or parsenet.
        recogniser: dlib, mobilefacenet or arcface; loaded when identity is first measured.
        recogniser_weights: path of its file, where it is not in the package or the cache.
        batch: faces at once; None: as many as fit.
        precision: auto, float32, float16 or bfloat16.
        settings: what is done to each photograph unless a call says otherwise.

    Raises:
        UsageError: weights or names that cannot be used, in one line.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        device: str = 'auto',
        engine: str = 'auto',
        detector: str | Detector = 'auto',
        detector_weights: str | os.PathLike[str] | None = None,
        mask: str = 'auto',
        recogniser: str = 'dlib',
        recogniser_weights: str | Path | None = None,
        batch: int | None = None,
        precision: str = 'auto',
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.weights = choose_weights(weights)
        needs_torch = is_retinaface(detector, detector_weights) or is_parsenet(mask) or recogniser != 'dlib'
        self.device: Any = 'cpu'
        self.network: FaceNetwork | OnnxNetwork
        if pick_engine(engine, self.weights, device, precision, needs_torch) == 'onnx':
            self.network = OnnxNetwork(self.weights, batch)
        else:
            self.network = self._load_network(device, precision, batch)
        self.detector = make_detector(detector, detector_weights, str(self.device))
        self.mask = choose_mask(mask, str(self.device))
        self.times = StageTimes()
        self._recogniser = known_recogniser(recogniser), recogniser_weights
        self._similarity: Similarity | None = None

    def restore(self, photo: Photo, settings: Settings | None = None) -> RestoredPhoto:
        """Restore one photograph.

        Raises:
            UnreadableImageError: the file cannot be read.
            UsageError: a setting that does not fit it.
        """
        job = self.prepare(photo, settings or self.settings)
        return self.finish(job, self.run_network(job.crops))

    def restore_many(
        self,
        photos: Iterable[Photo],
        settings: Settings | None = None,
        finish: Callable[[RestoredPhoto], Any] = lambda photo: photo,
    ) -> Iterator[tuple[Photo, Any]]:
        """Restore photographs, in order, in shared batches.

        Args:
            photos: what ``restore`` takes.
            settings: for all of them.
            finish: called with each result in the writing thread, such as to encode and save it.

        Yields:
            the photo and what ``finish`` returned, or the exception that one photograph ended in.
        """
        chosen = settings or self.settings
        return stream(
            photos,
            lambda photo: self.prepare(photo, chosen),
            self.run_network,
            lambda job, restored: finish(self.finish(job, restored)),
            self.network.batch,
        )

    def enhance(
        self,
        img: np.ndarray,
        has_aligned: bool = False,
        only_center_face: bool = False,
        paste_back: bool = True,
        weight: float | None = None,
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray | None]:
        """Restore as GFPGANer does: BGR uint8 in and out.

        Args:
            img: (h, w, 3).
            has_aligned: it is one aligned face.
            only_center_face: leave all but the most central face alone.
            paste_back: return the photograph too.
            weight: strength; None takes the settings'.

        Returns:
            the aligned faces, the restored faces, and the photograph (None without ``paste_back`` or when aligned).
        """
        settings = dataclasses.replace(
            self.settings,
            aligned=has_aligned,
            faces='center' if only_center_face else self.settings.faces,
            strength=self.settings.strength if weight is None else weight,
        )
        with_photo = paste_back and not has_aligned
        job = self.prepare(_to_bgr(img) if getattr(img, 'ndim', 0) == 3 else img, settings)
        other = self.enlarge(img) if with_photo else None
        background = None if other is None else dataclasses.replace(job.picture, pixels=_to_bgr(other))
        result = self.finish(job, self.run_network(job.crops), background)
        crops = [_to_bgr(face.crop) for face in result.restored_faces if face.crop is not None]
        faces = [_to_bgr(face.restored) for face in result.restored_faces if face.restored is not None]
        return crops, faces, _to_bgr(result.picture.pixels) if with_photo else None

    def enlarge(self, img: np.ndarray) -> np.ndarray | None:
        """Return the background for ``enhance``, BGR (h * scale, w * scale, 3); None: enlarge as ``restore`` does."""
        return None

    def prepare(self, photo: Photo, settings: Settings) -> Job:
        """Read a photograph, find and choose its faces, align them."""
        with self.times.stage('decode'):
            name, picture = as_picture(photo)
        with self.times.stage('detect'):
            faces = self._find(picture, name, settings)
        with self.times.stage('align'):
            crops = [self._crop(picture, face, settings.aligned) for face in faces if face.skipped is None]
        return Job(name, picture, faces, crops, settings)

    @property
    def similarity(self) -> Similarity:
        """The recogniser's score of pairs of faces, loaded when first asked for."""
        if self._similarity is None:
            self._similarity = load_similarity(*self._recogniser, str(self.device))
        return self._similarity

    def run_network(self, crops: list[np.ndarray]) -> list[np.ndarray]:
        """Restore aligned faces (s, s, 3) float32 RGB in [0, 1]."""
        with self.times.stage('network'):
            try:
                return self.network(crops)
            except UsageError as error:
                raise UsageError(f'{self.weights}: {error}') from error

    def finish(self, job: Job, restored: list[np.ndarray], enlarged: Picture | None = None) -> RestoredPhoto:
        """Paste the restored faces of ``job``, onto ``enlarged`` if it is given, and return the result."""
        chosen = [face for face in job.faces if face.skipped is None]
        if job.settings.color == 'keep':
            with self.times.stage('colour'):
                restored = [
                    keep_tone(crop, keep_colour(crop, after)) for crop, after in zip(job.crops, restored, strict=True)
                ]
        with self.times.stage('identity'):
            for face, crop, after in zip(chosen, job.crops, restored, strict=True):
                self._settle_strength(face, crop, after, job.settings)
        with self.times.stage('paste'):
            background = enlarged or resize_picture(job.picture, job.settings.scale)
            changes = [
                self._change(face, crop, after, job.settings)
                for face, crop, after in zip(chosen, job.crops, restored, strict=True)
            ]
            return self._paste(job, background, changes)

    def _load_network(self, device: str, precision: str, batch: int | None) -> 'FaceNetwork':
        from mmrbgan_arch import MMRBGAN
        from mmrbgan_arch.weights_io import load_network

        from .face_network import FaceNetwork, pick_device

        self.device = pick_device(device)
        network = load_network(self.weights)
        if not isinstance(network, MMRBGAN):
            raise UsageError(f'{self.weights}: holds {type(network).__name__}, which restores nothing; give a MMRBGAN')
        return FaceNetwork(network, network.out_size, self.device, precision, batch, release=True)

    def _find(self, picture: Picture, name: str, settings: Settings) -> list[Face]:
        height, width = picture.pixels.shape[:2]
        if settings.aligned:
            box = np.array([0, 0, width, height], float)
            return [Face(box, np.empty((0, 2)), 1.0)]
        if isinstance(settings.faces, FaceFile):
            return settings.faces.faces(name, width, height)
        search = getattr(self.detector, 'search', self.detector)  # lists uncertain faces too
        found = search(to_8_bits(picture.pixels))
        return choose_faces(found, settings.faces, settings.min_face, picture.pixels.shape)

    def _crop(self, picture: Picture, face: Face, aligned: bool) -> np.ndarray:
        size = self.network.size
        height, width = picture.pixels.shape[:2]
        if aligned:
            face.matrix = resize_matrix(size / width, size / height)
        else:
            face.matrix = alignment_matrix(face.landmarks, size)
        crop: np.ndarray = (
            warp(picture.pixels, face.matrix, (size, size)).astype(np.float32) / np.iinfo(picture.pixels.dtype).max
        )
        face.crop = to_bytes(crop)
        return crop

    def _settle_strength(self, face: Face, crop: np.ndarray, after: np.ndarray, settings: Settings) -> None:
        face.strength = settings.strength
        if settings.measure_identity or settings.min_identity is not None:
            found = guard_strength(self.similarity, crop, after, settings.strength, settings.min_identity)
            face.strength, face.similarity = found
            if face.strength < settings.strength and face.strength == 0:
                face.skipped = f'every strength scores below --min-identity {settings.min_identity:g}'

    def _change(self, face: Face, crop: np.ndarray, after: np.ndarray, settings: Settings) -> FaceChange:
        face.restored = to_bytes(after)
        assert face.matrix is not None
        mask = (
            np.ones(crop.shape[:2], np.float32) if settings.aligned else self.mask(after, face.landmarks, face.matrix)
        )
        return FaceChange(face.matrix, crop, after, mask, face.strength)

    def _paste(self, job: Job, background: Picture, changes: list[FaceChange]) -> RestoredPhoto:
        height, width = job.picture.pixels.shape[:2]
        pixels = paste_faces(background.pixels, changes, (width, height), job.settings.detail == 'keep')
        if job.picture.grey or (job.settings.color == 'keep' and is_neutral(job.picture.pixels)):
            pixels = np.repeat(to_grey(pixels)[:, :, None], 3, 2)
        changed = background is not job.picture or not np.array_equal(pixels, background.pixels)
        detector = getattr(self.detector, 'name', type(self.detector).__name__)
        restored = dataclasses.replace(background, pixels=pixels)
        searched = self._searched(width, height, job.settings)
        return RestoredPhoto(job.name, restored, background, (width, height), job.faces, changed, detector, searched)

    def _searched(self, width: int, height: int, settings: Settings) -> str:
        """Return how a photograph was searched, in words, where the detector tells."""
        if settings.aligned or isinstance(settings.faces, FaceFile) or not hasattr(self.detector, 'describe'):
            return ''
        return str(self.detector.describe(width, height))


def _to_bgr(image: np.ndarray) -> np.ndarray:
    """Swap red and blue of (h, w, 3), 8 bits out; alpha is dropped, grey (h, w) repeated."""
    image = to_8_bits(image)
    return np.ascontiguousarray(np.dstack([image] * 3) if image.ndim == 2 else image[:, :, 2::-1])
