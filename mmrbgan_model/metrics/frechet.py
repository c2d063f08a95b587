"""The distance in FID: between two Gaussians, ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``.

With ``C1 = A'A`` and ``C2 = B'B``, the trace of the root is the sum of the singular values of ``A B'``: no matrix
square root, zero (to 1e-7 of the trace) for equal Gaussians, and for n images a problem of size n instead of 2048.
"""

import dataclasses
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy import linalg

from mmrbgan_arch.support.atomic_files import write_atomically
from mmrbgan_arch.support.errors import UsageError


@dataclasses.dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean and covariance of a set's features.

    Attributes:
        mean: (d,) float64.
        covariance: (d, d) float64, unbiased; None where ``rows`` says it all.
        count: of images; None if the file does not say.
        rows: (n, d) centred features divided by sqrt(n - 1); None where only the covariance is known.
    """

    mean: np.ndarray
    covariance: np.ndarray | None
    count: int | None
    rows: np.ndarray | None = None

    @classmethod
    def of_features(cls, features: np.ndarray) -> 'Gaussian':
        """Describe features (n, d), n at least 2."""
        features = features.astype(np.float64)
        mean = features.mean(axis=0)
        rows = (features - mean) / np.sqrt(len(features) - 1)
        if len(rows) > rows.shape[1]:
            return cls(mean, rows.T @ rows, len(features))
        return cls(mean, None, len(features), rows)

    @cached_property
    def factor(self) -> np.ndarray:
        """``A`` (k, d) with ``A'A`` the covariance."""
        return self.rows if self.rows is not None else _factor(self.covariance)

    @property
    def trace(self) -> float:
        """Trace of the covariance."""
        return float((self.rows**2).sum() if self.covariance is None else np.trace(self.covariance))  # type: ignore


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Return the squared distance of two Gaussians over features of the same network."""
    if a.mean.shape != b.mean.shape:
        raise UsageError(f'features of {len(a.mean)} and of {len(b.mean)} numbers are of two networks; no FID')
    gap = a.mean - b.mean
    return max(0.0, float(gap @ gap + a.trace + b.trace - 2 * _sum_of_singular_values(a.factor @ b.factor.T)))


def _sum_of_singular_values(matrix: np.ndarray) -> float:
    """By the eigenvalues of the smaller product of the matrix with itself: a third of the time of an SVD."""
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    squares = linalg.eigvalsh(wide @ wide.T, overwrite_a=True, check_finite=False, driver='ev')
    return float(np.sqrt(squares.clip(min=0)).sum())


def _factor(covariance: np.ndarray | None) -> np.ndarray:
    """Return (k, d) whose Gram matrix is the covariance; fewer rows where it has lower rank."""
    assert covariance is not None
    factor: np.ndarray
    try:
        factor = linalg.cholesky(covariance, check_finite=False)
    except linalg.LinAlgError:
        values, vectors = linalg.eigh(covariance, check_finite=False)
        kept = values > values[-1] * len(values) * np.finfo(float).eps
        factor = (vectors[:, kept] * np.sqrt(values[kept])).T
    return factor


def read_statistics(path: str | Path, network: str | None = None, size: int = 2048) -> Gaussian:
    """Read mean and covariance from a ``.npz`` (ours, pytorch-fid's) or a ``.pth`` (BasicSR's, VQFR's).

    Args:
        path: the file.
        network: hash of the Inception file in use; a file of ours made with another one is refused.
        size: length of the features.

    Raises:
        UsageError: missing, damaged, or of another network.
    """
    entries = _read_entries(Path(path))
    mean, covariance = (_first(entries, names, path) for names in (('mu', 'mean'), ('sigma', 'cov')))
    mean, covariance = mean.astype(np.float64).ravel(), covariance.astype(np.float64)
    if mean.shape != (size,) or covariance.shape != (size, size):
        raise UsageError(f"{path}: {mean.shape} and {covariance.shape} are not of FID's Inception ({size} features)")
    made_with = str(entries['network']) if 'network' in entries else None
    if network and made_with and made_with != network:
        raise UsageError(f'{path}: made with another network ({made_with}, here {network}); make the statistics again')
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise UsageError(f'{path}: holds numbers that are not finite; make the statistics again')
    return Gaussian(mean, covariance, int(entries['count']) if 'count' in entries else None)


def write_statistics(path: str | Path, gaussian: Gaussian, network: str) -> None:
    """Write a ``.npz`` that pytorch-fid reads too, with the count and the network's hash beside."""
    covariance = gaussian.factor.T @ gaussian.factor if gaussian.covariance is None else gaussian.covariance
    content = {'mu': gaussian.mean, 'sigma': covariance, 'count': gaussian.count, 'network': network}
    arrays = {name: np.asarray(value) for name, value in content.items()}
    write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def _read_entries(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == '.npz':
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        return {key: np.asarray(value) for key, value in _load_numpy(path).items()}
    except FileNotFoundError as error:
        raise UsageError(f'{path}: no such file of statistics') from error
    except Exception as error:  # zip, pickle and numpy fail in many ways
        raise UsageError(f'{path}: not a file of statistics ({str(error).splitlines()[0]})') from error


def _load_numpy(path: Path) -> dict[str, object]:
    """Load a torch file that may hold plain numpy arrays, and nothing else that runs."""
    from numpy._core import multiarray  # the name pickles of both numpy 1 and 2 resolve to

    reconstruct = multiarray._reconstruct
    names = [(reconstruct, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')]
    scalars = [(multiarray.scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')]
    plain = [np.ndarray, np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32))]
    with torch.serialization.safe_globals([*names, *scalars, *plain]):
        result: dict[str, object] = torch.load(path, map_location='cpu', weights_only=True)
        return result


def _first(entries: dict[str, np.ndarray], names: tuple[str, ...], path: str | Path) -> np.ndarray:
    for name in names:
        if name in entries:
            return entries[name]
    raise UsageError(f'{path}: has neither {" nor ".join(names)}; not a file of FID statistics')
