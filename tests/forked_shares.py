"""Processes that share a folder of photographs, forked from one that has imported everything; fails loudly.

Called in a folder with in/ and tiny.safetensors.
"""

import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path

import torch
from tiny_restoring import stand_in

from mmrbgan import cli
from mmrbgan.restoring import restorer
from mmrbgan.restoring.files.own_results import MARKER

FLAGS = ['--weights', 'tiny.safetensors', '--device', 'cpu', '--batch', '1', '--json', '--sheet']
PAUSE = 0.15  # seconds that a face takes in a run that is to be killed
restorer.make_detector = lambda *_: stand_in


def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return str(found.getsockname()[1])


def start(output, size=0, pause=0.0):
    """Fork the processes (size 0: a single one that no torchrun started); return their ids."""
    port, children = free_port(), []
    for rank in range(size or 1):
        child = os.fork()
        if child:
            children.append(child)
            continue
        status = 99
        try:
            if size:
                os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
            status = restore(output, Path(f'{output}_{rank}.txt'), pause)
        finally:
            os._exit(status)
    return children


def restore(output, log, pause):
    signal.alarm(300)  # a process whose others are gone would wait for them for days
    run = restorer.Restorer.run_network
    restorer.Restorer.run_network = lambda *given: (time.sleep(pause), run(*given))[1]
    with log.open('w') as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        return cli.main(['restore', 'in', '-o', output, *FLAGS])


def wait(children):
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def contents(output):
    """Every file below the folder but the list of results -> its bytes, the folder's own name taken out."""
    found = {
        path.relative_to(output).as_posix(): path.read_bytes() for path in Path(output).rglob('*') if path.is_file()
    }
    assert [name for name in found if name.startswith(MARKER)] == [MARKER], found.keys()
    names = sorted({json.loads(line)[0] for line in found.pop(MARKER).splitlines()})
    return found | {'faces.json': found['faces.json'].replace(output.encode(), b'OUT'), 'names': names}


def said(output, size):
    return sum(Path(f'{output}_{rank}.txt').read_text().count('faces restored') for rank in range(size))


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def main():
    torch.set_num_threads(1)
    assert wait(start('one')) == [1]  # a photograph among them is damaged
    expected, count = contents('one'), said('one', 1)
    assert wait(start('four', 4)) == [1] * 4
    assert contents('four') == expected and said('four', 4) == count

    children, journal = start('killed', 4, PAUSE), Path(f'killed/{MARKER}.0')
    until(lambda: journal.is_file() and journal.read_bytes().count(b'"key"') >= 2)  # a.jpg has a.png, a.png has nothing
    for child in children:
        os.kill(child, signal.SIGKILL)
    assert wait(children) == [-signal.SIGKILL] * 4
    whole = sum(path.read_bytes().count(b'"key"') for path in Path('killed').glob(f'{MARKER}.*'))
    for path in Path('killed').glob(f'{MARKER}.0'):
        path.write_bytes(path.read_bytes() + b'["torn')
    assert wait(start('killed', 3)) == [1] * 3
    assert contents('killed') == expected
    assert 0 < whole < count and said('killed', 3) == count - whole, (whole, count, said('killed', 3))
    print(f'{count} photographs, {whole} before the kill')


if __name__ == '__main__':
    main()
