"""Set metrics inside validation: fed face by face, put together over ranks, logged beside the averages."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model import metric_entries, metrics, ranks, validation
from mmrbgan_model.metrics.ifqa import IFQANet
from mmrbgan_model.metrics.tensors import to_unit


class Brightness:
    """A set metric for the test: the mean over all faces, and how many there were."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def update(self, restored, gt=None):
        self.values += restored.mean((1, 2, 3)).tolist()

    def compute(self):
        if len(self.values) < 2:
            raise UsageError('over a set')
        return {'brightness': float(np.mean(self.values)), 'brightness_n': float(len(self.values))}

    def state(self):
        return {'values': self.values}

    def merge(self, state):
        self.values = self.values + state['values']


@pytest.fixture
def validator(monkeypatch):
    monkeypatch.setitem(metrics.SET_METRICS, 'brightness', lambda options, where: Brightness())
    return validation.Validator({'light': {'type': 'brightness', 'better': 'lower'}}, sheet_faces=0)


def picture(level: int) -> np.ndarray:
    return np.full((8, 8, 3), level, np.uint8)


def test_a_set_metric_takes_its_place_among_the_results(validator):
    for level in (0, 255):
        validator.add(picture(9), picture(level), None)
    outcome = validator.outcome()
    assert outcome.restored == {'light': 0.5}
    assert outcome.details == {'brightness_n': 2.0}
    assert 'light 0.5000' in outcome.line('set') and 'brightness_n 2' in outcome.line('set')


def test_ranks_are_put_together(validator, monkeypatch):
    validator.add(picture(9), picture(0), None)
    other = {'values': [1.0, 0.5]}
    gathered = {dict: lambda own: [own, other]}
    monkeypatch.setattr(ranks, 'gather', lambda own: gathered.get(type(own), lambda own: [own])(own))
    validator.share()
    assert validator.outcome().restored == {'light': 0.5}


def test_a_set_that_cannot_be_scored_warns_and_goes_on(validator, caplog):
    validator.add(picture(9), picture(0), None)
    assert validator.outcome().restored == {}
    assert 'over a set' in caplog.text


@pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
def test_a_column_without_its_weights_is_named_once_and_the_rest_goes_on(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path))
    metrics_of = {'ifqa': {'type': 'calculate_ifqa'}, 'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
    assert list(metric_entries.available(metrics_of, may_miss=True)) == ['psnr']
    assert caplog.text.count('column ifqa is missing') == 1
    assert 'IFQA_Metric.pth' in caplog.text and 'github.com/AIM-SKKU/IFQA' in caplog.text  # and how to get it
    with pytest.raises(UsageError, match='IFQA_Metric'):  # a training fails at its start
        metric_entries.available(metrics_of, may_miss=False)


@pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
def test_a_column_with_its_weights_is_there(tmp_path):
    weights = tmp_path / 'IFQA_Metric.pth'
    torch.save({'D': IFQANet().state_dict()}, weights)
    metrics_of = {'ifqa': {'type': 'calculate_ifqa', 'weights': str(weights)}}
    assert metric_entries.available(metrics_of, may_miss=True) == metrics_of


def test_columns_come_in_the_order_of_the_option_file(validator, monkeypatch):
    monkeypatch.setattr(validation, 'score', lambda *_: 1.0)
    monkeypatch.setattr(validation, 'check_metric', lambda *_: None)
    ordered = {'light': {'type': 'brightness'}, 'psnr': {'type': 'calculate_psnr'}}
    validator = validation.Validator(ordered, sheet_faces=0)
    for level in (0, 255):
        validator.add(picture(9), picture(level), None)
    assert list(validator.outcome().restored) == ['light', 'psnr']


@pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
def test_the_group_that_gained_least_stands_beside_the_mean(monkeypatch):
    metrics_of = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
    validator = validation.Validator(metrics_of, sheet_faces=0, group_pattern='^me_([a-z]+)_')
    faces = {'me_asian_1.png': (4, 1), 'me_black_2.png': (4, 2), 'me_black_3.png': (4, 2), 'other.png': (4, 4)}
    for name, (before, after) in faces.items():
        validator.add(picture(9 + before), picture(9 + after), picture(9), f'faces/{name}')
    outcome = validator.outcome()
    assert outcome.worst['psnr'].group == 'black'
    assert outcome.worst['psnr'].change == pytest.approx(20 * np.log10(2))
    assert '(least in black: 42.1102, change +6.0206)' in outcome.line('set')
    assert outcome.restored['psnr'] > outcome.worst['psnr'].value - 1  # the mean is over all faces


def test_a_pattern_without_a_part_in_parentheses_is_refused():
    with pytest.raises(UsageError, match=r'val\.group_pattern'):
        validation.Validator({}, sheet_faces=0, group_pattern='^me_')


@pytest.mark.parametrize(
    ('path', 'section', 'expected'),
    [
        ('set/a.b.png', {'dataroot_gt': 'set'}, 'a.b'),
        ('set/holiday/0.png', {'dataroot_gt': './set/'}, 'holiday/0'),
        ('set/lq/holiday/0.png', {'dataroot_lq': 'set/lq', 'dataroot_gt': 'set'}, 'holiday/0'),
        ('/data/set.lmdb/holiday/0.png', {'dataroot_lq': '/data/set.lmdb', 'dataroot_gt': None}, 'holiday/0'),
        ('set.lmdb/../../0.png', {'dataroot_lq': 'set.lmdb'}, '0'),
        ('elsewhere/holiday/0.png', {}, '0'),
    ],
)
def test_a_picture_is_named_by_its_path_below_the_root(path, section, expected):
    assert validation.picture_name(path, section) == expected


def test_a_home_folder_is_a_root(monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')
    assert validation.picture_name('/home/me/set/holiday/0.png', {'dataroot_gt': '~/set'}) == 'holiday/0'


@pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
@pytest.mark.parametrize(
    ('is_train', 'val', 'face', 'expected'),
    [
        (True, {}, '0', 'seen/0/0_5.png'),
        (True, {}, 'holiday/0', 'seen/holiday/0/0_5.png'),
        (False, {}, '0', 'seen/set/0_run.png'),
        (False, {'suffix': 'x'}, 'holiday/0', 'seen/set/holiday/0_x.png'),
    ],
)
def test_where_pictures_lie(is_train, val, face, expected):
    import mmrbgan.plugin  # noqa: F401
    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    model = SimpleNamespace(is_train=is_train, opt={'name': 'run', 'val': val})
    assert MMRBGANModel._picture_path(model, Path('seen'), 'set', face, 5) == Path(expected)


def test_pictures_become_tensors_in_the_unit_range():
    unit = to_unit(picture(255)[None])
    assert unit.shape == (1, 3, 8, 8) and unit.max() == 1 and unit.dtype == torch.float32
