"""`mmrbgan prepare`: one process at a time writes to a folder."""

import subprocess
import sys

import numpy as np

from mmrbgan.cli import main
from mmrbgan_data.components import write_landmarks
from mmrbgan_data.drawn.drawing import draw_face
from mmrbgan_data.images import write_image


def test_a_second_start_is_one_line(tmp_path, capfd):
    face, points = draw_face(np.random.default_rng(5), 256)
    write_image(tmp_path / 'photos/a.png', face)
    write_landmarks(tmp_path / 'landmarks.csv', {'a.png': points})
    flags = ['--landmarks', str(tmp_path / 'landmarks.csv'), '--size', '256', '--workers', '1']
    hold = (
        'import sys\nfrom mmrbgan_arch.support.folder_lock import FolderLock\n'
        "lock = FolderLock(sys.argv[1], '')\nlock.take()\nprint('taken', flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, '-c', hold, str(tmp_path / 'out')]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout.readline() == 'taken\n'
        assert main(['prepare', str(tmp_path / 'photos'), '-o', str(tmp_path / 'out'), *flags]) == 2
        holder.kill()
    error = capfd.readouterr().err
    assert 'is being written by process' in error and error.count('\n') == 1
    assert not (tmp_path / 'out').exists()
