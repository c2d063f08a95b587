"""The order of samples: from (seed, epoch) alone, shared out to ranks, resumable."""

import pytest

from mmrbgan_data.datasets.sampler import ResumableSampler


class Keyed(list):
    takes_sample_keys = True


def test_order_depends_on_seed_and_epoch():
    def order(seed, epoch):
        sampler = ResumableSampler(range(50), seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6
    assert sorted(order(1, 2)) == list(range(50))


@pytest.mark.parametrize('length', [10, 11])
def test_ranks_share_the_epoch(length):
    shares = [list(ResumableSampler(range(length), 2, rank)) for rank in (0, 1)]
    assert len(shares[0]) == len(shares[1]) == len(ResumableSampler(range(length), 2, 0)) == (length + 1) // 2
    assert set(shares[0]) | set(shares[1]) == set(range(length))


@pytest.mark.parametrize('processes', [2, 3, 4, 25])
def test_any_number_of_processes_takes_the_same_order(processes):
    shares = [list(ResumableSampler(range(11), processes, rank, seed=1)) for rank in range(processes)]
    together = [index for step in zip(*shares, strict=True) for index in step]
    whole = list(ResumableSampler(range(11), seed=1))
    assert together == (3 * whole)[: len(together)]


def test_order_stays_that_of_earlier_checkpoints():
    def order(*args, **more):
        sampler = ResumableSampler(range(8), *args, seed=1, **more)
        sampler.set_epoch(2)
        return list(sampler)

    assert order() == [6, 1, 5, 3, 7, 0, 4, 2]
    assert order(2, 1, ratio=1.5) == [1, 4, 0, 7, 2, 0]


def test_ratio_enlarges_the_epoch():
    indices = list(ResumableSampler(range(4), ratio=3))
    assert sorted(indices) == sorted(list(range(4)) * 3)


def test_keys_are_epoch_and_position():
    sampler = ResumableSampler(Keyed(range(4)), ratio=2)
    sampler.set_epoch(5)
    assert sorted(sampler) == [(5, position) for position in range(8)]


def test_skip_leaves_out_the_consumed_part_of_that_epoch_only():
    sampler = ResumableSampler(range(20), seed=1)
    sampler.set_epoch(3)
    whole = list(sampler)
    sampler.skip(3, 7)
    assert list(sampler) == whole[7:]
    sampler.set_epoch(4)
    assert len(list(sampler)) == 20


def test_resume_in_more_processes_misses_no_file():
    first = list(ResumableSampler(range(11), seed=1))[:4]
    rest = [ResumableSampler(range(11), 2, rank, seed=1) for rank in (0, 1)]
    for sampler in rest:
        sampler.skip(0, 2)
    assert set(first).union(*rest) == set(range(11))
