"""Keeps a restored face the same person: lowers the strength until a recogniser's score is high enough.

The score compares with the degraded input, so against a badly degraded one it is weak evidence, in both directions.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmrbgan_arch.support.errors import UsageError

from .files.photo_file import to_bytes

RECOGNISERS = ('dlib', 'mobilefacenet', 'arcface')
STEPS = 8  # strengths tried: this many equal parts of the one asked for, and 0

Similarity = Callable[[np.ndarray, np.ndarray], np.ndarray]


def known_recogniser(name: str) -> str:
    """Return ``name``.

    Raises:
        UsageError: no recogniser is called so.
    """
    if name not in RECOGNISERS:
        raise UsageError(f'--recogniser {name}: known are {", ".join(RECOGNISERS)}')
    return name


def load_similarity(recogniser: str, weights: str | Path | None, device: str) -> Similarity:
    """Return a function of (n, s, s, 3) RGB uint8 twice that scores each pair (n,); 1 is the same picture.

    dlib's score is 1 minus its distance, which its authors call the same person from 0.4 up; the others' is the cosine.

    Raises:
        UsageError: an unknown recogniser, or its file is nowhere.
    """
    from mmrbgan_model.metrics.identity import identity, weights_path

    path = weights_path(known_recogniser(recogniser), weights)  # type: ignore[arg-type]
    measure = functools.partial(identity, recogniser=recogniser, weights=path, device=device)  # type: ignore[arg-type]
    if recogniser == 'dlib':
        return lambda restored, crop: 1 - measure(restored, crop)['distance']
    return lambda restored, crop: measure(restored, crop)['cosine']


def guard_strength(
    similarity: Similarity, crop: np.ndarray, restored: np.ndarray, strength: float, least: float | None
) -> tuple[float, float]:
    """Return the greatest strength that keeps the score at ``least`` or above, and its score.

    Args:
        similarity: as ``load_similarity`` returns it.
        crop: (s, s, 3) float32 RGB in [0, 1], the input.
        restored: (s, s, 3), the same restored at full strength.
        strength: the one asked for.
        least: the score to keep; None only measures.
    """
    strengths = [strength] if least is None else [strength * (STEPS - i) / STEPS for i in range(STEPS + 1)]
    for tried in strengths:
        score = float(similarity(to_bytes(crop + tried * (restored - crop))[None], to_bytes(crop)[None])[0])
        if least is None or score >= least:
            break
    return tried, score
