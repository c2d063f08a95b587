"""Batches of faces: they fit into memory, run in half precision where it holds, and never mix up their order."""

import platform
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from mmrbgan.restoring import face_network
from mmrbgan.restoring.face_network import FaceNetwork, batch_that_fits, pick_device
from mmrbgan.restoring.files.stream import READ_AHEAD, stream
from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.support.errors import UsageError

CPU = torch.device('cpu')


class Negative(torch.nn.Module):
    """Inverts faces, and remembers the batches it was given."""

    def __init__(self, limit=1000, error=None):
        super().__init__()
        self.limit, self.error, self.batches = limit, error or torch.OutOfMemoryError('out of memory'), []

    def forward(self, batch):
        self.batches.append(len(batch))
        if len(batch) > self.limit:
            raise self.error
        return -batch


def faces(count):
    return list(np.random.default_rng(0).random((count, 8, 8, 3)).astype(np.float32))


def test_batches_and_order():
    network = Negative()
    some = faces(7)
    restored = FaceNetwork(network, 8, CPU, batch=3)(some)
    assert network.batches == [3, 3, 1]
    np.testing.assert_allclose(restored, 1 - np.array(some), atol=1e-6)


@pytest.mark.parametrize(
    'error',
    [
        torch.OutOfMemoryError('CUDA out of memory'),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(error):
    network = Negative(2, error)
    some = faces(7)
    restored = FaceNetwork(network, 8, CPU, batch=6)(some)
    assert network.batches == [6, 3, 1, 1, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(restored, 1 - np.array(some), atol=1e-6)


def test_one_face_that_does_not_fit_is_the_users_error():
    with pytest.raises(UsageError, match='out of memory with a single face'):
        FaceNetwork(Negative(0), 8, CPU, batch=4)(faces(4))


def test_other_errors_are_not_taken_for_lack_of_memory():
    with pytest.raises(RuntimeError, match='shape'):
        FaceNetwork(Negative(0, RuntimeError('shape')), 8, CPU)(faces(1))


def test_memory_kept_for_one_batch_size_is_given_back_at_another(monkeypatch):
    sizes, network = [], Negative()
    monkeypatch.setattr(face_network, 'give_back_memory', lambda: sizes.append(len(network.batches)))
    FaceNetwork(network, 8, CPU, batch=3)(faces(10))
    assert network.batches == [3, 3, 3, 1] and sizes == [0, 3]  # before the first batch, and before the last


def test_large_blocks_lie_apart_until_the_first_face_is_done(monkeypatch):
    calls = []
    for name in ('separate_memory', 'keep_memory'):
        monkeypatch.setattr(face_network, name, lambda name=name: calls.append(name))
    network = FaceNetwork(Negative(), 8, CPU, batch=3)
    assert calls == ['separate_memory']
    network(faces(7))
    assert calls == ['separate_memory', 'keep_memory']


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library')
def test_memory_is_kept_from_the_first_face_on():
    code = """if True:
        import resource, numpy, torch
        from mmrbgan.restoring.face_network import FaceNetwork
        from mmrbgan_arch import MMRBGAN
        runner = FaceNetwork(MMRBGAN(128, narrow=0.25).eval(), 128, torch.device('cpu'), 'float32', release=True)
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            runner([numpy.zeros((128, 128, 3), numpy.float32)])
            print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    faults = [int(line) for line in done.stdout.split()]
    assert faults[-1] < faults[0] / 8, faults  # pages that the system had to clear for the last face


def test_overflow_in_half_precision_goes_on_in_float32(caplog):
    class Overflows(torch.nn.Module):
        def forward(self, batch):
            return batch / (0 if torch.is_autocast_enabled('cpu') else 1)

    some = faces(2)
    runner = FaceNetwork(Overflows(), 8, CPU, 'bfloat16')
    np.testing.assert_allclose(runner(some), some, atol=1e-6)
    assert runner.dtype == torch.float32
    assert 'going on in float32' in caplog.text


def test_weights_that_give_no_numbers_are_named():
    class Broken(torch.nn.Module):
        def forward(self, batch):
            return batch * float('nan')

    with pytest.raises(UsageError, match='NaN or infinite values'):
        FaceNetwork(Broken(), 8, CPU)(faces(1))


def test_bfloat16_is_close_to_float32():
    torch.manual_seed(0)
    network = MMRBGAN(out_size=32, narrow=0.0625, style_dim=16, num_mlp=1)
    some = list(np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32))
    exact, half = (np.array(FaceNetwork(network, 32, CPU, kind)(some)) for kind in ('float32', 'bfloat16'))
    assert 0 < np.abs(exact - half).mean() < 0.02


def test_larger_networks_get_smaller_batches():
    small, large = (MMRBGAN(out_size=64, narrow=narrow, style_dim=16, num_mlp=1) for narrow in (0.0625, 1))
    assert batch_that_fits(small, 64, CPU) == 32
    assert 1 <= batch_that_fits(large, 1024, CPU) <= 2


@pytest.mark.parametrize('fields', [{'precision': 'int8'}, {'batch': 0}])
def test_impossible_options_are_refused(fields):
    with pytest.raises(UsageError, match=f'--{next(iter(fields))}'):
        FaceNetwork(Negative(), 8, CPU, **fields)


@pytest.mark.parametrize('name', ['toaster', 'cuda:77'])
def test_unusable_device_is_one_line(name):
    with pytest.raises(UsageError, match=f'^--device {name}: [^\n]+$'):
        pick_device(name)


class Job:
    def __init__(self, photo, pixels=1):
        self.photo, self.pixels = photo, pixels
        self.crops = [(photo, i) for i in range(photo % 4)]


def run_stream(photos, batch=4, **stages):
    groups = []

    def network(crops):
        groups.append(len(crops))
        return crops

    read = stages.get('read', Job)
    write = stages.get('write', lambda job, restored: (job.photo, restored))
    return list(stream(photos, read, network, write, batch)), groups


def test_stream_gives_every_photo_its_own_faces_in_order():
    outcomes, groups = run_stream(range(13))
    assert outcomes == [(n, (n, [(n, i) for i in range(n % 4)])) for n in range(13)]
    assert all(count >= 4 for count in groups[:-1])


@pytest.mark.parametrize('stage', ['read', 'write'])
def test_stream_survives_what_one_photo_does(stage):
    def fail(photo, *rest):
        if getattr(photo, 'photo', photo) == 3:
            raise KeyError('three')
        return Job(photo) if stage == 'read' else photo.photo

    outcomes, _ = run_stream(range(6), **{stage: fail})
    assert [type(outcome) is KeyError for _, outcome in outcomes] == [n == 3 for n in range(6)]


def test_stream_stages_overlap():
    """The first write ends only when a later photograph has been read meanwhile."""
    started, read_meanwhile = threading.Event(), threading.Event()

    def read(photo):
        if photo == 6 and started.wait(20):
            read_meanwhile.set()
        return Job(1)

    def write(job, restored):
        started.set()
        return read_meanwhile.wait(20)

    outcomes, _ = run_stream(range(13), batch=1, read=read, write=write)
    assert all(outcome for _, outcome in outcomes)


def test_stream_reads_ahead_but_not_everything():
    read, written = [], []

    def reading(photo):
        read.append(photo)
        return Job(1)

    outcomes = stream(range(100), reading, lambda crops: crops, lambda job, restored: written.append(1), 1)
    next(outcomes)
    assert len(read) <= 4 * READ_AHEAD
    outcomes.close()
