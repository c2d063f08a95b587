"""``train.time_limit``: the clock moves rates, starts and stops on, ends the run, and counts on after a resume."""

import re

import pytest
import tiny_run
import torch

from mmrbgan_arch import basicsr_bridge
from mmrbgan_model import run_clock
from mmrbgan_model.run_clock import RunClock

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')


@pytest.fixture
def at(monkeypatch):
    """Set the clock to so many seconds."""
    now = [0.0]
    monkeypatch.setattr(run_clock.time, 'monotonic', lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def places(clock, at, moments):
    found = []
    for seconds, iteration in moments:
        at(seconds)
        clock.advance(iteration)
        found.append(clock.place)
    return found


def test_without_a_limit_the_place_is_the_iteration(at):
    assert places(RunClock(10, None), at, [(1e6, 1), (2e6, 9)]) == [1, 9]


def test_the_clock_moves_a_slow_run_on_and_ends_it(at):
    clock = RunClock(1000, 2)
    assert places(clock, at, [(0, 1), (30, 2), (60, 600), (90, 601)]) == [1, 250, 600, 750]
    assert not clock.is_over
    assert places(clock, at, [(121, 602)]) == [1000] and clock.is_over


def test_seconds_before_a_resume_count(at):
    at(50)
    first = RunClock(100, 1)
    at(80)
    resumed = RunClock(100, 1)
    resumed.restore(first.state())
    assert places(resumed, at, [(80, 1), (95, 2)]) == [50, 75]


def test_a_run_ends_in_time_with_its_second_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_run.make_faces('faces')
    train = {'total_iter': 10**6, 'time_limit': 0.06, 'pyramid_opt': {'loss_weight': 1, 'stop': 5 * 10**5}}
    options = tiny_run.options(train=train, val=None)
    options['logger']['save_checkpoint_freq'] = 10**6
    assert tiny_run.start(options) == 0
    log = next((tmp_path / 'experiments/tiny').glob('train_*.log')).read_text(encoding='utf-8')
    steps = re.findall(r'iter: +([\d,]+).*', log)
    assert 1 < len(steps) < 10**4
    lines = [line for line in log.splitlines() if 'l_g_pix' in line]
    assert 'l_g_pyramid' in lines[0] and 'l_g_pyramid' not in lines[-1]
    states = list((tmp_path / 'experiments/tiny/training_states').glob('*.state'))
    assert len(states) == 1 and (tmp_path / 'experiments/tiny/models/net_g_latest.pth').is_file()
    assert torch.load(states[0], weights_only=True)['clock']['seconds'] >= 3.6


@pytest.mark.parametrize('limit', [0, -1, float('inf')])
def test_an_impossible_limit_is_refused(tmp_path, monkeypatch, capsys, limit):
    monkeypatch.chdir(tmp_path)
    tiny_run.make_faces('faces')
    assert tiny_run.start(tiny_run.options(train={'time_limit': limit})) != 0
    assert 'error: train.time_limit: ' in capsys.readouterr().err
