"""Arrays with one row per component, written by name, so that a new component changes no test."""

import numpy as np

from mmrbgan_data.components import NAMES


def rows(width, /, **known):
    """(k, width) float32: the rows named, NaN for the others."""
    return np.array([known.get(name, [np.nan] * width) for name in NAMES], np.float32)


def boxes(**known):
    """(k, 4) float32: the boxes named, zeros for the others, and the mask (k,) of those named."""
    return np.nan_to_num(rows(4, **known)), np.array([name in known for name in NAMES])


def named(values):
    """Row or value of each component of (k, ...), by name."""
    return dict(zip(NAMES, np.asarray(values).tolist(), strict=True))
