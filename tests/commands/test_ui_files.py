"""`mmrbgan ui` as a process of its own: what was uploaded is gone when it ends."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from tiny_restoring import tiny_weights

pytest.importorskip('gradio', reason='gradio is not installed (extra ui)')
FORM = b'--x\r\nContent-Disposition: form-data; name="files"; filename="mine.png"\r\n\r\nmine\r\n--x--\r\n'


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_uploads_are_removed_when_the_page_is_ended(tmp_path, number):
    (tmp_path / 'tmp').mkdir()
    call = [
        sys.executable,
        '-c',
        f'import sys; sys.path[:0] = {sys.path!r}; from mmrbgan.cli import main; sys.exit(main())',
    ]
    flags = ['ui', '--weights', str(tiny_weights(tmp_path)), '--engine', 'torch', '--mask', 'ellipse']
    environment = os.environ | {
        'TMPDIR': str(tmp_path / 'tmp'),
        'PYTHONUNBUFFERED': '1',
        'GRADIO_ANALYTICS_ENABLED': '0',
    }
    process = subprocess.Popen([*call, *flags], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        address = next(found[1] for line in process.stdout if (found := re.search(r'(http://127\.0\.0\.1:\d+)', line)))
        header = {'Content-Type': 'multipart/form-data; boundary=x'}
        urllib.request.urlopen(urllib.request.Request(f'{address}/gradio_api/upload', FORM, header)).read()
        uploaded = list(tmp_path.glob('tmp/mmrbgan_ui_*/**/mine.png'))
        process.send_signal(number)
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert len(uploaded) == 1
    assert not list(tmp_path.glob('tmp/mmrbgan_ui_*'))
