import argparse
import subprocess
import sys

import pytest

from mmrbgan import cli
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.exit_status import guarded


def test_help_imports_nothing_slow_and_lists_every_command():
    code = """if True:
        import atexit, sys
        from mmrbgan import cli
        atexit.register(lambda: print('slow:', *sorted({'torch', 'cv2', 'numpy', 'basicsr'} & set(sys.modules))))
        cli.main(['--help'])
    """
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0 and all(f'    {name} ' in done.stdout for name in cli.COMMANDS)
    assert done.stdout.splitlines()[-1] == 'slow:'


def test_every_command_explains_itself_without_torch():
    code = """if True:
        import contextlib, sys
        from mmrbgan import cli
        for name in cli.COMMANDS:
            with contextlib.suppress(SystemExit):
                cli.main([name, '--help'])
            print('after', name, *sorted({'torch', 'basicsr'} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith('after')] == [f'after {name}' for name in cli.COMMANDS]
    assert all(any(line.startswith(f'usage: mmrbgan {name}') for line in lines) for name in cli.COMMANDS)


def test_an_unknown_command_is_status_2(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(['trian'])
    assert caught.value.code == 2


def test_a_reader_that_stops_is_no_error():
    command = f'{sys.executable} -m mmrbgan.cli weights list'
    done = subprocess.run(f'{command} | true', shell=True, capture_output=True, text=True)
    assert done.stderr == ''


def test_a_worker_whose_pipe_breaks_is_an_error():
    def fail(args):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        guarded(fail, argparse.Namespace())


@pytest.mark.parametrize(('error', 'status'), [(UsageError('a\nb'), 2), (KeyboardInterrupt(), 130)])
def test_errors_become_statuses(error, status, capsys):
    def fail(args):
        raise error

    assert guarded(fail, argparse.Namespace()) == status
    assert capsys.readouterr().err.count('\n') == 1


def test_a_mistake_of_ours_keeps_its_traceback():
    def fail(args):
        raise ValueError('ours')

    with pytest.raises(ValueError, match='ours'):
        guarded(fail, argparse.Namespace())
