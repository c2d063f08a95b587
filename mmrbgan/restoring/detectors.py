"""Detectors by name."""

import os
from pathlib import Path

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.detection import Detector, DlibDetector, RetinaFaceDetector, find_retinaface


def make_detector(detector: str | Detector, weights: str | os.PathLike[str] | None, device: str) -> Detector:
    """Return the detector called so; see ``Restorer``.

    Raises:
        UsageError: an unknown name, or weights that cannot be had.
    """
    if not isinstance(detector, str):
        return detector
    if detector == 'auto':
        detector = 'retinaface' if weights or find_retinaface() else 'dlib'
    networks = {'retinaface': 'mobile0.25', 'retinaface-resnet50': 'resnet50'}
    if detector in networks:
        return RetinaFaceDetector(networks[detector], Path(weights) if weights else None, device=device)
    if detector == 'dlib':
        return DlibDetector()
    raise UsageError(f'--detector {detector}: known are auto, dlib, {", ".join(networks)}')
