import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch

from mmrbgan_arch import basicsr_bridge

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
TESTS = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    tiny_run.make_faces('faces')
    return tmp_path


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    """The state after eight iterations without a stop."""
    home = tmp_path_factory.mktemp('unbroken')
    before = Path.cwd()
    os.chdir(home)
    try:
        torch.set_num_threads(1)
        tiny_run.make_faces('faces')
        assert tiny_run.start(tiny_run.options()) == 0
    finally:
        os.chdir(before)
    return tiny_run.final_state(home / 'experiments/tiny')


def at_iteration(monkeypatch, number, act):
    """Call ``act`` in the middle of training iteration ``number``."""
    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    step = MMRBGANModel.optimize_parameters

    def optimize_parameters(self, current_iter):
        step(self, current_iter)
        if current_iter == number:
            act(self)

    monkeypatch.setattr(MMRBGANModel, 'optimize_parameters', optimize_parameters)


def newest_log(folder):
    logs = sorted((folder / 'experiments/tiny').glob('*.log'), key=lambda path: path.stat().st_mtime_ns)
    return logs[-1].read_text(encoding='utf-8')


def run_forked(folder, *what):
    environment = {**os.environ, 'PYTHONPATH': str(TESTS), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, str(TESTS / 'forked_runs.py'), *what]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


def test_sigkills_leave_no_trace_in_the_result(folder):
    """A tenth of what benchmarks/results/kills.txt has."""
    done = run_forked(folder, 'kills', '20', '1')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith('20 kills in ')


def test_two_processes_agree_with_each_other_and_with_one_and_survive_a_kill(folder):
    done = run_forked(folder, 'ranks')
    assert done.returncode == 0, done.stderr
    assert 'the killed job resumed to the same bits' in done.stdout
    assert float(done.stdout.split('from one process: ')[1].split()[0]) < 1e-12


def test_two_processes_train_the_quick_options_as_one_does(folder):
    tiny_run.make_faces('faces', 24)
    done = run_forked(folder, 'quick')
    assert done.returncode == 0, done.stderr
    assert 'tensors compared, differing by more than 1e-5: []' in done.stdout


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
def test_a_machine_that_is_taken_away_leaves_a_complete_set(folder, monkeypatch, unbroken, number):
    with monkeypatch.context() as patch:
        at_iteration(patch, 3, lambda model: os.kill(os.getpid(), number))
        assert tiny_run.start(tiny_run.options()) == 0
    assert (folder / 'experiments/tiny/training_states/3.json').is_file()
    assert signal.Signals(number).name in newest_log(folder)
    assert tiny_run.start(tiny_run.options(), '--auto_resume') == 0
    assert not tiny_run.differences(unbroken, tiny_run.final_state(folder / 'experiments/tiny'))


def test_a_full_disk_stops_the_run_and_leaves_the_last_set(folder, monkeypatch, unbroken, capfd):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        at_iteration(patch, 3, lambda model: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1])))
        try:
            status = tiny_run.start(tiny_run.options())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 2
    assert 'make room on the disk' in capfd.readouterr().err.splitlines()[-1]
    run = folder / 'experiments/tiny'
    assert not list(run.glob('*/.*part*')) and (run / 'training_states/2.json').is_file()
    assert not (run / 'training_states/4.json').exists()
    assert tiny_run.start(tiny_run.options(), '--auto_resume') == 0
    assert 'Resuming training from epoch: 0, iter: 2' in newest_log(folder)
    assert not tiny_run.differences(unbroken, tiny_run.final_state(run))


def test_a_loss_that_is_not_finite_stops_before_the_step(folder, monkeypatch, capfd):
    def poison(model):
        with torch.no_grad():
            model.net_d_before = [p.clone() for p in model.networks['net_d'].parameters()]
            next(model.networks['net_g'].parameters()).fill_(float('nan'))

    at_iteration(monkeypatch, 2, poison)
    assert tiny_run.start(tiny_run.options()) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert 'iteration 3: not finite: l_g_pix' in line and 'faces/' in line
    batch = torch.load(folder / 'experiments/tiny/bad_batch_3.pt', weights_only=True)
    assert batch['lq'].shape == (2, 3, tiny_run.SIZE, tiny_run.SIZE) and len(batch['files']) == 2


def test_the_best_metrics_survive_and_a_missed_validation_is_made_up(folder, monkeypatch):
    class PowerCutError(Exception):
        pass

    def cut(*args):
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr('mmrbgan_model.mmrbgan_model.MMRBGANModel.validation', cut)
        with pytest.raises(PowerCutError):
            tiny_run.start(tiny_run.options())
    assert tiny_run.start(tiny_run.options(), '--auto_resume') == 0
    log = newest_log(folder)
    assert 'sheet_val_4.png' in log and 'sheet_val_8.png' in log
    state = torch.load(folder / 'experiments/tiny/training_states/8.state', weights_only=True)
    assert state['best_metrics']['val']['psnr']['iter'] == 4


def test_plain_states_of_basicsr_are_resumed_from(folder):
    assert tiny_run.start(tiny_run.options(train={'total_iter': 4})) == 0
    states = folder / 'experiments/tiny/training_states'
    for path in states.glob('*.json'):
        path.unlink()
    for path in states.glob('*.state'):
        state = torch.load(path, weights_only=True)
        torch.save({key: state[key] for key in ('epoch', 'iter', 'optimizers', 'schedulers')}, path)
    assert tiny_run.start(tiny_run.options(), '--auto_resume') == 0
    assert 'Resuming training from epoch: 1, iter: 4' in newest_log(folder)


def test_a_set_without_its_manifest_is_skipped_or_refused(folder, capfd):
    assert tiny_run.start(tiny_run.options(train={'total_iter': 4})) == 0
    (folder / 'experiments/tiny/training_states/4.json').unlink()
    named = {'resume_state': 'experiments/tiny/training_states/4.state'}
    assert tiny_run.start(tiny_run.options(path=named)) == 2
    assert 'it has no manifest' in capfd.readouterr().err
    assert tiny_run.start(tiny_run.options(), '--auto_resume') == 0
    log = newest_log(folder)
    assert 'iteration 4 is skipped: it has no manifest' in log and 'iter: 2.' in log


def test_a_resumed_run_goes_on_with_the_seed_that_it_drew(folder):
    content = tiny_run.options(manual_seed=None, train={'total_iter': 4})
    assert tiny_run.start(content) == 0
    assert tiny_run.start({**content, 'name': 'other'}) == 0
    content['train']['total_iter'] = 6
    assert tiny_run.start(content, '--auto_resume') == 0
    seeds = {}
    for name, iteration in (('tiny', 4), ('tiny', 6), ('other', 4)):
        path = folder / f'experiments/{name}/training_states/{iteration}.state'
        opt = torch.load(path, weights_only=True)['options']
        seeds[name, iteration] = {opt['manual_seed'], *(section['seed'] for section in opt['datasets'].values())}
    assert seeds['tiny', 4] == seeds['tiny', 6] and len(seeds['tiny', 4]) == 1
    assert seeds['other', 4] != seeds['tiny', 4]


def test_going_back_leaves_what_came_later(folder):
    content = tiny_run.options()
    assert tiny_run.start(content) == 0
    content.update(path={'resume_state': 'experiments/tiny/training_states/4.state'})
    content['train'].update(total_iter=6, keep_checkpoints=2)
    assert tiny_run.start(content) == 0
    del content['path']
    content['train']['total_iter'] = 7
    assert tiny_run.start(content, '--auto_resume') == 0
    assert 'Resuming training from epoch: 1, iter: 6' in newest_log(folder)


def test_a_validation_set_that_was_missed_is_made_up(folder, monkeypatch):
    content = tiny_run.options()
    content['datasets']['val_2'] = {**content['datasets']['val'], 'name': 'second'}
    content['val']['metrics']['ssim'] = {'type': 'calculate_ssim', 'crop_border': 0}
    with monkeypatch.context() as patch:
        from mmrbgan_model.mmrbgan_model import MMRBGANModel

        validation = MMRBGANModel.validation

        def only_first(self, loader, *arguments):
            if loader.dataset.opt['name'] == 'second':
                raise KeyboardInterrupt
            validation(self, loader, *arguments)

        patch.setattr(MMRBGANModel, 'validation', only_first)
        assert tiny_run.start(content) != 0
    assert tiny_run.start(content, '--auto_resume') == 0
    assert newest_log(folder).count('Validation second') == 2 and newest_log(folder).count('Validation val:') == 1


def test_a_validation_has_defaults(folder):
    assert tiny_run.start(tiny_run.options(train={'total_iter': 4}, val={})) == 0
    assert newest_log(folder).count('Validation val: 3 faces') == 2  # with each checkpoint, of every second iteration


def test_a_metric_may_come_with_a_resume(folder):
    content = tiny_run.options(train={'total_iter': 4})
    assert tiny_run.start(content) == 0
    content['train']['total_iter'] = 8
    content['val']['metrics']['ssim'] = {'type': 'calculate_ssim', 'crop_border': 0}
    assert tiny_run.start(content, '--auto_resume') == 0
    assert 'Best ssim on val' in newest_log(folder)


def test_a_part_of_the_generator_may_be_fixed_at_a_resume(folder):
    content = tiny_run.options(train={'total_iter': 4})
    assert tiny_run.start(content) == 0
    content['train'].update(total_iter=6, optim_g={'lr_prior': 0, 'lr_noise': 0})
    assert tiny_run.start(content, '--auto_resume') == 0
    first, second = (torch.load(f'experiments/tiny/models/net_g_{i}.pth', weights_only=True)['params'] for i in (4, 6))
    moved = {name.partition('.')[0] for name in first if not torch.equal(first[name], second[name])}
    assert moved and 'prior' not in moved


def test_rates_changed_in_the_options_hold_after_a_resume(folder):
    assert tiny_run.start(tiny_run.options(train={'total_iter': 2})) == 0
    changed = tiny_run.options(train={'optim_d': {'lr': 1e-7}})
    assert tiny_run.start(changed, '--auto_resume') == 0
    assert '1.000e-07' in newest_log(folder)


def test_a_state_of_other_networks_is_one_line(folder, capfd):
    assert tiny_run.start(tiny_run.options(train={'total_iter': 2})) == 0
    wider = tiny_run.options()
    wider['network_g']['narrow'] = 0.0625
    assert tiny_run.start(wider, '--auto_resume') == 2
    assert 'of another size' in capfd.readouterr().err.splitlines()[-1]


def test_only_the_last_sets_and_the_best_stay(folder):
    assert tiny_run.start(tiny_run.options(train={'keep_checkpoints': 1})) == 0
    state = torch.load(folder / 'experiments/tiny/training_states/8.state', weights_only=True)
    best = state['best_metrics']['val']['psnr']['iter']
    kept = {int(path.stem) for path in (folder / 'experiments/tiny/training_states').glob('*.json')}
    assert kept == {8, best}
    assert {path.name for path in (folder / 'experiments/tiny/models').glob('net_g_*')} == {
        'net_g_latest.pth',
        *(f'net_g_{iteration}.pth' for iteration in kept),
    }
