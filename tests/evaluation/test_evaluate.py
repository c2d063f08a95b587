"""`mmrbgan evaluate`: pairing, exclusions, one clear error each, poses, records; tiny pictures, cheap metrics."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmrbgan import cli
from mmrbgan.evaluation import scoring
from mmrbgan.evaluation.face_set import EvaluationSet
from mmrbgan.evaluation.metric_table import METRICS
from mmrbgan.evaluation.poses import pose_masks
from mmrbgan.evaluation.record import read_record, summarise
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model.metrics.fid import FID
from mmrbgan_model.metrics.frechet import read_statistics

CHEAP = ['--metrics', 'psnr', 'ssim']


def write(folder: Path, name: str, seed: int, size: int = 48) -> None:
    folder.mkdir(exist_ok=True)
    picture = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    cv2.imwrite(str(folder / name), picture)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Six faces: ground truth in gt/, and in out/ the same with one grey level more, named as BasicSR does."""
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        write(tmp_path / 'gt', f'face{i}.png', i)
        picture = cv2.imread(str(tmp_path / 'gt' / f'face{i}.png')).astype(int)
        (tmp_path / 'out').mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / 'out' / f'face{i}_mine.png'), np.abs(picture - 1).astype(np.uint8))
    return tmp_path


def evaluate(*arguments: str) -> int:
    return cli.main(['evaluate', *arguments])


def test_a_record_says_what_the_numbers_rest_on(folders, capsys):
    assert evaluate('out', '--gt', 'gt', '--name', 'mine', *CHEAP) == 0
    record = read_record(folders / 'evaluations' / 'mine.json')
    assert record.count == 6 and len(record.set_hash) == 16 and record.versions['torch']
    assert record.summaries['psnr'].mean == pytest.approx(48.13, abs=0.01)
    assert 'scikit-image' in record.provenance['psnr']
    assert 'PSNR' in capsys.readouterr().out


def test_the_ground_truth_against_itself(folders, capsys):
    assert evaluate('gt', '--gt', 'gt', *CHEAP) == 0
    record = read_record(folders / 'evaluations' / 'gt.json')
    assert record.summaries['psnr'].mean == np.inf and record.summaries['psnr'].infinite == 6
    assert record.summaries['ssim'].mean == pytest.approx(1)


def test_names_that_do_not_pair_are_listed(folders, capsys):
    (folders / 'out' / 'face5_mine.png').unlink()
    assert evaluate('out', '--gt', 'gt', *CHEAP) == 0
    assert 'excluded: face5: not in restored' in capsys.readouterr().out
    assert read_record(folders / 'evaluations' / 'out.json').count == 5


def test_one_unreadable_image_is_listed(folders, capsys):
    (folders / 'out' / 'face2_mine.png').write_bytes(b'\x89PNG\r\n\x1a\n half')
    assert evaluate('out', '--gt', 'gt', *CHEAP) == 0
    record = read_record(folders / 'evaluations' / 'out.json')
    assert record.count == 5 and record.excluded[0][0] == 'face2'


def test_no_name_in_common_is_an_error(folders, capsys):
    for path in sorted((folders / 'gt').iterdir()):
        path.rename(path.with_name('x' + path.name))
    assert evaluate('out', '--gt', 'gt', *CHEAP) == 2
    assert 'name the files alike' in capsys.readouterr().err


def test_another_size_is_an_error(folders, capsys):
    write(folders / 'gt', 'face3.png', 3, size=32)
    assert evaluate('out', '--gt', 'gt', *CHEAP) == 2
    assert 'face3: restored is 48x48, the ground truth 32x32' in capsys.readouterr().err


def test_an_empty_folder_is_an_error(folders, capsys):
    (folders / 'empty').mkdir()
    assert evaluate('empty', '--gt', 'gt', *CHEAP) == 2
    assert 'no image' in capsys.readouterr().err


def test_statistics_of_another_network_are_an_error(folders, capsys):
    np.savez(folders / 'ffhq.npz', mu=np.zeros(64), sigma=np.eye(64))
    (folders / 'inception.pth').write_bytes(b'no weights')
    arguments = ('--ffhq', 'ffhq.npz', '--weights', 'fid=inception.pth')
    assert evaluate('out', '--gt', 'gt', *CHEAP, *arguments) == 2
    assert 'inception.pth: damaged' in capsys.readouterr().err


def test_a_metric_that_fills_other_columns_than_its_row_says_is_an_error(folders, monkeypatch):
    row = dataclasses.replace(METRICS['psnr'], build=lambda file, device: lambda a, b: {'psnr_y': np.zeros(len(a))})
    monkeypatch.setitem(METRICS, 'psnr', row)
    with pytest.raises(AssertionError, match='psnr fills psnr_y'):
        evaluate('out', '--gt', 'gt', '--metrics', 'psnr')


def test_an_unknown_metric_names_the_nearest(folders, capsys):
    assert evaluate('out', '--gt', 'gt', '--metrics', 'psnrr') == 2
    assert "did you mean 'psnr'" in capsys.readouterr().err


def test_a_metric_asked_for_without_ground_truth_is_an_error(folders, capsys):
    assert evaluate('out', '--metrics', 'psnr') == 2
    assert 'ground truth' in capsys.readouterr().err


def test_one_method_on_two_sets_keeps_both_records(folders, capsys):
    for gt in ('gt', 'out', 'gt', 'out'):  # the second time each replaces its own
        assert evaluate('out', '--gt', gt, '--name', 'mine', *CHEAP) == 0
    beside, plain = sorted(Path('evaluations').iterdir())
    assert plain.name == 'mine.json' and beside.name == f'mine-{read_record(beside).set_hash[:8]}.json'
    assert capsys.readouterr().out.endswith(f'Record: {beside}; {plain}, of another set, is kept\n')
    assert cli.main(['report', 'evaluations']) == 0


def test_a_record_at_out_is_replaced(folders):
    for gt, name in (('gt', 'first'), ('out', 'second')):
        assert evaluate('out', '--gt', gt, '--name', name, '--out', 'one.json', *CHEAP) == 0
    assert read_record(Path('one.json')).method == 'second' and len(list(folders.glob('one*.json'))) == 1


def test_statistics_that_cannot_be_written_are_told_before_the_work(folders, capsys):
    assert evaluate('out', '--gt', 'gt', '--save-stats', 'gt', *CHEAP) == 2
    printed = capsys.readouterr()
    assert printed.out == '' and printed.err.startswith('error: gt: is a folder') and '--save-stats' in printed.err


class Pooled(torch.nn.Module):
    """Twelve averages of a picture, in place of Inception."""

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def test_statistics_go_into_a_new_folder(folders, monkeypatch):
    monkeypatch.setattr(scoring, 'build_sets', lambda *_: [FID(network=Pooled())])
    assert evaluate('out', '--gt', 'gt', '--save-stats', 'new/folder/out.npz', *CHEAP) == 0
    assert read_statistics('new/folder/out.npz', size=12).count == 6


def test_statistics_that_fail_in_the_end_are_one_line(folders, monkeypatch, capsys):
    monkeypatch.setattr(scoring, 'build_sets', lambda *_: [FID(network=Pooled())])
    assert evaluate('out', '--gt', 'gt', '--save-stats', 'x' * 300 + '.npz', *CHEAP) == 2
    assert 'cannot be written' in capsys.readouterr().err.splitlines()[-1]


def test_statistics_without_their_suffix_are_refused_before_the_work(folders, capsys):
    assert evaluate('out', '--gt', 'gt', '--save-stats', 'stats.pth', *CHEAP) == 2
    printed = capsys.readouterr()
    assert printed.out == '' and printed.err == 'error: --save-stats stats.pth: the name of such a file ends in .npz\n'


def test_statistics_of_one_face_are_refused_before_the_work(folders, capsys):
    for path in sorted((folders / 'out').iterdir())[1:]:
        path.unlink()
    (folders / 'out' / 'face0_mine.png').rename(folders / 'out' / 'face0.png')
    assert evaluate('out', '--gt', 'gt', '--save-stats', 'stats.npz', *CHEAP) == 2
    assert capsys.readouterr().err.startswith('error: --save-stats: statistics take two faces or more')


def test_method_weights_that_are_not_there_are_told_before_the_work(folders, monkeypatch, capsys):
    def work(*_):
        raise AssertionError('scored')

    monkeypatch.setattr(scoring, '_score_all', work)
    assert evaluate('out', '--gt', 'gt', '--method-weights', 'typo.pth', *CHEAP) == 2
    assert capsys.readouterr().err == 'error: --method-weights: no such file: typo.pth\n'


def test_a_network_of_another_size_is_not_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('small.yml').write_text('network_g: {type: MMRBGAN, out_size: 64}\n')
    assert evaluate('--time', 'small.yml', '--device', 'cpu') == 2
    assert capsys.readouterr().err.startswith(
        'error: small.yml: network_g.out_size is 64; --time is for networks of 512'
    )


def test_a_name_with_a_slash_is_a_file_that_report_finds(folders):
    assert evaluate('out', '--gt', 'gt', '--name', 'mine/v1.5', *CHEAP) == 0
    assert read_record(folders / 'evaluations' / 'mine%2Fv1.5.json').method == 'mine/v1.5'
    assert cli.main(['report', 'evaluations']) == 0
    assert '| mine/v1.5 |' in Path('report/report.md').read_text()


@pytest.mark.parametrize(('out', 'reason'), [('gt', 'is a folder'), ('gt/face0.png/x/one.json', 'cannot be written')])
def test_an_out_that_cannot_be_written_is_told_before_the_work(folders, capsys, out, reason):
    assert evaluate('out', '--gt', 'gt', '--out', out, *CHEAP) == 2
    printed = capsys.readouterr()
    assert printed.out == '' and printed.err.startswith(f'error: {out}: {reason}') and '--out' in printed.err


def test_an_out_that_fails_in_the_end_leaves_the_numbers_on_the_terminal(folders, capsys):
    assert evaluate('out', '--gt', 'gt', '--out', 'x' * 300, *CHEAP) == 2  # longer than file systems allow
    printed = capsys.readouterr()
    assert 'PSNR' in printed.out and 'Record' not in printed.out
    assert printed.err.startswith('error: xxx') and len(printed.err.splitlines()) == 1


def test_timings_that_cannot_be_written_are_on_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('fast.yml').write_text('network_g: {type: MMRBGANClassical, method: input}\n')
    Path('evaluations').write_text('no folder')
    assert evaluate('--time', 'fast.yml', '--repeats', '1', '--device', 'cpu') == 2
    printed = capsys.readouterr()
    assert 'fast: ' in printed.out and printed.err.startswith('error: evaluations/timing.json: cannot be written')


def test_nothing_to_do_is_an_error(capsys):
    assert evaluate() == 2
    assert '--time' in capsys.readouterr().err


def test_every_metric_by_pose(folders):
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = (16, 20), (32, 20)
    lines = ['file,num_points,yaw,x0,y0,...']
    for i in range(6):
        points[30] = (24 + (8 if i > 3 else 0), 30)
        lines.append(','.join(map(str, [f'face{i}.png', 68, 0, *points.flatten()])))
    (folders / 'gt' / 'landmarks.csv').write_text('\n'.join(lines))
    assert evaluate('out', '--gt', 'gt', '--by-pose', *CHEAP) == 0
    poses = read_record(folders / 'evaluations' / 'out.json').poses
    assert [(pose.count, pose.label.partition(',')[0]) for pose in poses] == [(4, 'frontal'), (2, 'profile')]
    assert poses[0].summaries['psnr'].low <= poses[0].summaries['psnr'].mean


def test_faces_of_unknown_pose_are_a_bin_of_their_own():
    assert [(label, int(mask.sum())) for label, mask in pose_masks([0.0, None, -0.3])] == [
        ('frontal, below 0.10', 1),
        ('turned, 0.25 to 0.50', 1),
        ('pose unknown', 1),
    ]


def test_the_hash_changes_with_one_byte(folders):
    def digest() -> str | None:
        faces = EvaluationSet('gt')
        assert len(list(faces)) == 6
        return faces.digest('restored')

    before = digest()
    write(folders / 'gt', 'face0.png', 99)
    assert digest() != before


def test_one_name_twice_is_an_error(folders):
    write(folders / 'gt', 'face0.jpg', 0)
    with pytest.raises(UsageError, match='occurs twice'):
        EvaluationSet('out', 'gt')


def test_infinite_values_are_counted_and_left_out_of_the_mean():
    summary = summarise([1.0, 3.0, np.inf])
    assert (summary.mean, summary.count, summary.infinite) == (2.0, 3, 1)
    assert 1 <= summary.low <= summary.high <= 3


def test_a_file_that_is_no_record_is_one_clear_error(tmp_path):
    (tmp_path / 'x.json').write_text(json.dumps({'format': 'other'}))
    with pytest.raises(UsageError, match='not a record'):
        read_record(tmp_path / 'x.json')


def test_time_prints_median_spread_device_and_warm_up(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('fast.yml').write_text('network_g: {type: MMRBGANClassical, method: input}\n')
    assert evaluate('--time', 'fast.yml', '--repeats', '3', '--device', 'cpu') == 0
    printed = capsys.readouterr().out
    assert 'fast: ' in printed and '3 passes after 2), cpu, float32' in printed
