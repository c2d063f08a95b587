"""FID: scipy's formula, BasicSR's (pytorch-fid's) network and distance, sums, ranks, intervals, foreign files."""

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model.metrics import SET_METRICS
from mmrbgan_model.metrics.fid import FID, FeatureSums, FIDOptions, fid_of_features, jackknife_half_width
from mmrbgan_model.metrics.frechet import Gaussian, frechet_distance, read_statistics, write_statistics
from mmrbgan_model.metrics.inception import build, load_inception


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def features(count: int, size: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, size)) * np.exp(-np.arange(size) / 20) + shift).astype(np.float32)


def scipy_distance(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float), b.astype(float)
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(c1 @ c2).real
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + np.trace(c1 + c2 - 2 * root))


def test_the_distance_is_scipys_formula():
    a, b = features(400, 64, 0), features(300, 64, 1, shift=0.1)
    assert fid_of_features(a, b) == pytest.approx(scipy_distance(a, b), rel=1e-6)


def test_the_distance_of_2048_features_is_scipys_formula():
    # (C1 C2) of 40 and 30 images has rank 29 at most: its root's trace is that of a small matrix, so that scipy's
    # sqrtm takes milliseconds. The full 2048 x 2048 comparison is in benchmarks/metrics.py.
    a, b = (features(count, 2048, seed, shift=0.01 * seed).astype(float) for seed, count in enumerate((40, 30)))
    rows = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    root = linalg.sqrtm(rows[0] @ (rows[1].T @ rows[1]) @ rows[0].T)
    gap = a.mean(0) - b.mean(0)
    wanted = gap @ gap + sum((x**2).sum() for x in rows) - 2 * np.trace(root).real
    assert fid_of_features(a, b) == pytest.approx(wanted, rel=1e-4)


def test_the_distance_is_basicsrs():
    basicsr_bridge.connect()
    calculate_fid = pytest.importorskip('basicsr.metrics.fid').calculate_fid
    a, b = (Gaussian.of_features(features(300, 96, seed, shift=0.1 * seed)) for seed in (0, 1))
    assert a.covariance is not None and b.covariance is not None
    wanted = calculate_fid(a.mean, a.covariance, b.mean, b.covariance)
    assert frechet_distance(a, b) == pytest.approx(wanted, abs=1e-6)


def test_a_set_against_itself_is_zero():
    a = features(40, 64, 0)
    assert fid_of_features(a, a) == pytest.approx(0, abs=1e-9)


def test_folded_sums_say_what_the_features_say():
    a, b = features(300, 32, 0), features(200, 32, 1, shift=0.1)
    sums = FeatureSums(size=32)
    for part in np.array_split(a, 7):
        sums.add(part)
    assert sums.folded > 0
    assert frechet_distance(sums.gaussian(), Gaussian.of_features(b)) == pytest.approx(fid_of_features(a, b), rel=1e-6)


def test_memory_does_not_grow_with_the_images():
    sums = FeatureSums(size=16)
    for i in range(50):
        sums.add(features(8, 16, i))
    assert sums.count == 400
    assert len(sums.features()) <= 16 + 8


@pytest.mark.parametrize('keep', [False, True])
def test_two_ranks_together_are_one(keep):
    a = features(90, 16, 0)
    one, first, second = (FeatureSums(16, keep) for _ in range(3))
    one.add(a)
    first.add(a[::2])
    second.add(a[1::2])
    first.merge(second.state())
    assert first.count == 90
    assert frechet_distance(first.gaussian(), one.gaussian()) == pytest.approx(0, abs=1e-9)


def test_the_interval_narrows_with_more_images():
    few, many = (jackknife_half_width(features(n, 8, 0), features(n, 8, 1)) for n in (40, 1000))
    assert 0 < many < few


@pytest.fixture(scope='module')
def inception_file(tmp_path_factory):
    torch.manual_seed(0)
    state = build().state_dict()
    for key, value in state.items():
        if key.endswith('running_var'):
            value.uniform_(0.5, 1.5)
        elif key.endswith('conv.weight'):
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
    path = tmp_path_factory.mktemp('inception') / 'pt_inception-2015-12-05-6726825d.pth'
    torch.save(state, path)
    return path


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_the_network_is_pytorch_fids(inception_file, monkeypatch):
    basicsr_bridge.connect()
    reference = pytest.importorskip('basicsr.archs.inception')
    state = torch.load(inception_file, weights_only=True)
    monkeypatch.setattr(reference, 'load_url', lambda *_, **__: state)
    theirs = reference.InceptionV3([3], resize_input=True, normalize_input=True).eval()
    ours = load_inception(str(inception_file), torch.device('cpu'))
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, found = theirs(x)[0].flatten(1), ours(x)
    assert found.shape == (2, 2048)
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


class Pooled(nn.Module):
    """Twelve averages of a picture, in place of Inception."""

    def forward(self, x):
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def test_the_set_metric_counts_and_compares():
    fid = FID(network=Pooled())
    images = torch.rand(30, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for part in images.split(7):
        fid.update(part * 0.5, part)
    found = fid.compute()
    wanted = fid_of_features(Pooled()(images * 0.5).numpy(), Pooled()(images).numpy())
    assert found == {'fid_n': 30.0, 'fid_gt': pytest.approx(wanted)}


def test_an_interval_on_request():
    fid = FID(FIDOptions(interval=True), network=Pooled())
    images = torch.rand(30, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    fid.update(images * 0.5, images)
    found = fid.compute()
    assert found['fid_gt_low'] < found['fid_gt'] < found['fid_gt_high']


def test_one_image_is_no_set():
    fid = FID(network=Pooled())
    fid.update(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16))
    with pytest.raises(UsageError, match='over a set'):
        fid.compute()


def test_statistics_are_written_and_read(tmp_path):
    gaussian = Gaussian.of_features(features(50, 32, 0))
    write_statistics(tmp_path / 'ffhq.npz', gaussian, 'abc')
    again = read_statistics(tmp_path / 'ffhq.npz', 'abc', size=32)
    assert again.count == 50
    assert frechet_distance(gaussian, again) == pytest.approx(0, abs=1e-6)


def test_statistics_of_another_network_are_refused(tmp_path):
    write_statistics(tmp_path / 'ffhq.npz', Gaussian.of_features(features(50, 32, 0)), 'abc')
    with pytest.raises(UsageError, match='another network'):
        read_statistics(tmp_path / 'ffhq.npz', 'def', size=32)
    with pytest.raises(UsageError, match='not of FID'):
        read_statistics(tmp_path / 'ffhq.npz', 'abc')


def test_basicsrs_statistics_are_read_without_running_them(tmp_path):
    a = features(50, 32, 0).astype(np.float64)
    path = tmp_path / 'inception_FFHQ_512.pth'
    torch.save({'name': 'FFHQ', 'size': 512, 'mean': a.mean(0), 'cov': np.cov(a, rowvar=False)}, path)
    assert read_statistics(path, size=32).mean == pytest.approx(a.mean(0))


def test_a_damaged_file_of_statistics_is_one_clear_error(tmp_path):
    path = tmp_path / 'stats.npz'
    path.write_bytes(b'PK\x03\x04 nothing')
    with pytest.raises(UsageError, match='not a file of statistics'):
        read_statistics(path)


def test_the_table_of_set_metrics_reads_options_strictly():
    with pytest.raises(UsageError, match='interval'):
        SET_METRICS['fid']({'intervall': True}, 'val.metrics.fid')
