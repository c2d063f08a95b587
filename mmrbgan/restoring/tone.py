"""Grey and toned photographs (sepia, selenium, cyanotype) keep their tone: colour is a function of brightness there.

A colour photograph has many colours at one brightness, a toned print has one. Measured on 60 aligned faces: the spread
about the mean colour at each brightness is 2.97 of 255 in the palest colour photograph (median 9.6) and, in the same
faces toned like sepia and saved as JPEG, at most 1.6 at quality 90, 2.0 at 75, 2.4 at 50 and 2.9 at 30.
"""

import numpy as np

from .files.photo_file import LUMA

BINS = 24
LARGEST_SPREAD = 2.6 / 255  # root mean square


def keep_tone(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return ``after`` in the tone of ``before``, if that has one; both (s, s, 3) float32 RGB in [0, 1].

    Where the three channels of ``before`` are equal everywhere, they are equal in the result.
    """
    curve = tone_of(before)
    if curve is None:
        return after
    luma = after @ LUMA
    tint = [np.interp(luma, np.linspace(0, 1, BINS), channel) for channel in curve.T]
    result: np.ndarray = (luma[:, :, None] + np.stack(tint, 2)).astype(np.float32)
    return result


def tone_of(image: np.ndarray) -> np.ndarray | None:
    """Return what each of ``BINS`` brightnesses adds to the three channels (BINS, 3), None for a colour photograph."""
    luma = image @ LUMA
    chroma = image - luma[:, :, None]
    if is_neutral(image):
        return np.zeros((BINS, 3), np.float32)
    curve = _curve(luma.ravel(), chroma.reshape(-1, 3))
    spread = chroma - np.stack([np.interp(luma, np.linspace(0, 1, BINS), channel) for channel in curve.T], 2)
    return curve if float(np.sqrt((spread**2).mean())) < LARGEST_SPREAD else None


def is_neutral(image: np.ndarray) -> bool:
    """Say whether the three channels of (h, w, 3) are equal everywhere."""
    return np.array_equal(image[:, :, 0], image[:, :, 1]) and np.array_equal(image[:, :, 1], image[:, :, 2])


def _curve(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Return the mean chroma at each brightness, each pixel shared by the two nearest; gaps are bridged."""
    place = np.clip(luma, 0, 1) * (BINS - 1)
    low = np.minimum(place.astype(int), BINS - 2)
    share = place - low
    weight = np.bincount(low, 1 - share, BINS) + np.bincount(low + 1, share, BINS)
    sums = [
        np.bincount(low, (1 - share) * channel, BINS) + np.bincount(low + 1, share * channel, BINS)
        for channel in chroma.T
    ]
    known = np.flatnonzero(weight > 1e-3 * len(luma))
    means = [np.interp(np.arange(BINS), known, (total[known] / weight[known])) for total in sums]
    return np.stack(means, 1).astype(np.float32)
