"""Weights files: every network comes back from its file alone; a bad file is one line and nothing of it is run."""

import json
import os
import pickle
import warnings

import gpen_reference as gpen
import pytest
import torch
from safetensors import safe_open

import mmrbgan_arch as arch
from mmrbgan_arch.support.atomic_files import write_atomically
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.weights_io import load_into, read_state, write_weights

SMALL = {'style_dim': 16, 'narrow': 1 / 64}
NETWORKS = {
    'generator': lambda: arch.MMRBGAN(32, num_mlp=3, channel_multiplier=2, **SMALL),
    'generator of 8 px': lambda: arch.MMRBGAN(8, num_mlp=1, **SMALL),
    'generator of 128 px, multiplier 1': lambda: arch.MMRBGAN(128, num_mlp=2, channel_multiplier=1, **SMALL),
    'generator of narrow 0.03': lambda: arch.MMRBGAN(64, 16, 2, channel_multiplier=1, narrow=0.043),
    'generator without MMRB': lambda: arch.MMRBGAN(32, use_mmrb=False, **SMALL),
    'discriminator': lambda: arch.MMRBGANDiscriminator(64, narrow=1 / 64),
    'discriminator, multiplier 1': lambda: arch.MMRBGANDiscriminator(128, 1, narrow=1 / 64),
    'component discriminator': lambda: arch.MMRBGANComponentDiscriminator(8),
    'arcface': lambda: arch.MMRBGANArcFace((1, 2, 1, 1)),
    'mobilefacenet': arch.MMRBGANMobileFaceNet,
}


@pytest.fixture
def generator():
    return NETWORKS['generator']()


def fault_of(path, **options):
    with pytest.raises(UsageError) as caught:
        arch.load_network(path, **options)
    assert '\n' not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
@pytest.mark.parametrize('name', NETWORKS)
def test_network_comes_back_from_its_file_alone(tmp_path, name, ending):
    network = NETWORKS[name]()
    write_weights(tmp_path / f'net{ending}', network.state_dict())
    loaded = arch.load_network(tmp_path / f'net{ending}')
    assert type(loaded) is type(network)
    assert not loaded.training
    expected = network.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.state_dict().items())


def test_moving_average_goes_before_the_last_weights(tmp_path, generator):
    average = {key: value + 1 for key, value in generator.state_dict().items()}
    torch.save({'params': generator.state_dict(), 'params_ema': average}, tmp_path / 'net.pth')
    loaded = arch.load_network(tmp_path / 'net.pth')
    assert torch.equal(loaded.prior.constant, generator.prior.constant + 1)


def test_key_chooses_the_entry(tmp_path, generator):
    average = {key: value + 1 for key, value in generator.state_dict().items()}
    torch.save({'params': generator.state_dict(), 'params_ema': average}, tmp_path / 'net.pth')
    assert torch.equal(arch.load_network(tmp_path / 'net.pth', key='params').prior.constant, generator.prior.constant)


def test_mistyped_key_names_the_nearest(tmp_path, generator):
    write_weights(tmp_path / 'net.pth', generator.state_dict())
    assert "'params_ema'" in fault_of(tmp_path / 'net.pth', key='param_ema')


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.'])
def test_prefixes_of_wrappers_are_taken_off(tmp_path, generator, prefix):
    torch.save({prefix + key: value for key, value in generator.state_dict().items()}, tmp_path / 'net.pth')
    assert set(read_state(tmp_path / 'net.pth')) == set(generator.state_dict())


def test_missing_file(tmp_path):
    assert 'no such file' in fault_of(tmp_path / 'none.pth')


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
@pytest.mark.parametrize('share', [0, 0.3, 0.9])
def test_truncated_file(tmp_path, generator, ending, share):
    path = tmp_path / f'net{ending}'
    write_weights(path, generator.state_dict())
    os.truncate(path, int(share * path.stat().st_size))
    assert 'damaged' in fault_of(path)


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_text_file(tmp_path, ending):
    (tmp_path / f'net{ending}').write_text('<html>404: not found</html>')
    assert 'damaged' in fault_of(tmp_path / f'net{ending}')


class Attack:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize('save', [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, generator, save):
    save({'params': generator.state_dict(), 'run': Attack(tmp_path / 'executed')}, tmp_path / 'net.pth')
    assert 'more than tensors' in fault_of(tmp_path / 'net.pth')
    assert not (tmp_path / 'executed').exists()


def test_pickled_network_is_refused(tmp_path, generator):
    torch.save(generator, tmp_path / 'net.pth')
    assert 'more than tensors' in fault_of(tmp_path / 'net.pth')


def test_torchscript_archive_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / 'net.pth')
    assert 'more than tensors' in fault_of(tmp_path / 'net.pth')


def test_list_instead_of_a_dictionary(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / 'net.pth')
    assert 'found list' in fault_of(tmp_path / 'net.pth')


@pytest.mark.parametrize('odd', ['sparse', 'meta', 'complex', 'bytes'])
def test_tensors_that_are_no_weights_are_refused(tmp_path, generator, odd):
    state, key = generator.state_dict(), 'encoder.to_latent.weight'
    make = {
        'sparse': lambda value: value.to_sparse(),
        'meta': lambda value: value.to('meta'),
        'complex': lambda value: value.to(torch.complex64),
        'bytes': lambda value: value.to(torch.uint8),
    }[odd]
    torch.save(state | {key: make(state[key])}, tmp_path / 'net.pth')
    assert 'plain tensors' in fault_of(tmp_path / 'net.pth')


def test_number_in_place_of_a_weight(tmp_path, generator):
    torch.save(generator.state_dict() | {'encoder.stem.conv.weight': torch.tensor(1.0)}, tmp_path / 'net.pth')
    assert 'does not fit' in fault_of(tmp_path / 'net.pth')


def test_training_state_is_no_state_dict(tmp_path):
    torch.save({'epoch': 1, 'iter': 2, 'optimizers': []}, tmp_path / '2.state')
    assert 'expected a state dict' in fault_of(tmp_path / '2.state')


def test_empty_state_dict(tmp_path):
    torch.save({}, tmp_path / 'net.pth')
    assert 'holds none of the networks' in fault_of(tmp_path / 'net.pth')


def test_checkpoint_of_another_network(tmp_path):
    torch.save({'params': torch.nn.Linear(2, 2).state_dict()}, tmp_path / 'net.pth')
    assert 'weight, bias' in fault_of(tmp_path / 'net.pth')


def test_gpen_file_is_sent_to_the_converter(tmp_path):
    torch.save({'ecd0.0.0.weight': torch.zeros(8, 3, 1, 1)}, tmp_path / 'G.pth')
    assert 'mmrbgan convert gpen' in fault_of(tmp_path / 'G.pth')


def test_layer_of_another_width_is_named(tmp_path, generator):
    state = generator.state_dict() | {'prior.blocks.1.bias': torch.zeros(3)}
    torch.save(state, tmp_path / 'net.pth')
    assert 'prior.blocks.1.bias (3,) instead of (16,)' in fault_of(tmp_path / 'net.pth')


def test_missing_and_unknown_keys_are_named(tmp_path, generator):
    state = generator.state_dict() | {'extra': torch.zeros(3)}
    del state['prior.blocks.1.bias']
    torch.save(state, tmp_path / 'net.pth')
    fault = fault_of(tmp_path / 'net.pth')
    assert 'missing: prior.blocks.1.bias' in fault
    assert 'not known: extra' in fault


def test_failed_write_keeps_the_old_file_and_leaves_no_part(tmp_path):
    (tmp_path / 'net.pth').write_text('old')

    def fail(file):
        file.write(b'half of it')
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        write_atomically(tmp_path / 'net.pth', fail)
    assert (tmp_path / 'net.pth').read_text() == 'old'
    assert [path.name for path in tmp_path.iterdir()] == ['net.pth']


def test_both_entries_take_the_room_of_one(tmp_path, generator):
    write_weights(tmp_path / 'net.pth', generator.state_dict())
    size = sum(value.numel() * 4 for value in generator.state_dict().values())
    assert (tmp_path / 'net.pth').stat().st_size < 1.5 * size + 50_000


def test_safetensors_names_the_network_and_its_options(tmp_path, generator):
    write_weights(tmp_path / 'net.safetensors', generator.state_dict())
    with safe_open(tmp_path / 'net.safetensors', framework='pt') as file:
        metadata = file.metadata()
    assert metadata['network'] == 'MMRBGAN'
    assert arch.MMRBGAN(**json.loads(metadata['options'])).state_dict().keys() == generator.state_dict().keys()


@pytest.mark.parametrize('content', [{0: torch.zeros(2)}, {'params': {1: torch.zeros(2)}}], ids=str)
def test_keys_that_are_no_names_are_not_known(tmp_path, generator, content):
    torch.save(content, tmp_path / 'net.pth')
    with pytest.raises(UsageError, match=r'not weights of this MMRBGAN.*not known: [01]'):
        load_into(generator, tmp_path / 'net.pth')


def test_filling_a_network_from_a_gpen_file_sends_to_the_converter(tmp_path, generator):
    torch.save(gpen.random_generator(), tmp_path / 'net.pth')
    with pytest.raises(UsageError, match='mmrbgan convert gpen'):
        load_into(generator, tmp_path / 'net.pth')


def test_without_strict_what_fits_is_loaded(tmp_path, generator):
    key = 'encoder.stem.conv.weight'
    torch.save({key: torch.full_like(generator.state_dict()[key], 7), 'other': torch.zeros(1)}, tmp_path / 'net.pth')
    assert load_into(generator, tmp_path / 'net.pth', strict=False).state_dict()[key].eq(7).all()
    torch.save({'other': torch.zeros(1)}, tmp_path / 'net.pth')
    with pytest.raises(UsageError, match='nothing in it fits'):
        load_into(generator, tmp_path / 'net.pth', strict=False)


def test_a_key_that_the_file_lacks_falls_back_to_what_it_holds(tmp_path, generator):
    torch.save(generator.state_dict(), tmp_path / 'net.pth')
    load_into(generator, tmp_path / 'net.pth', 'params')
