"""`mmrbgan convert`: files in, files out, and what it refuses."""

import gpen_reference as gpen
import pytest
import torch
import yaml

import mmrbgan_arch
from mmrbgan import cli
from mmrbgan_arch.gpen import convert_discriminator, convert_generator
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.weights_io import read_file


@pytest.fixture
def files(tmp_path):
    torch.save(gpen.random_generator(), tmp_path / 'G.pth')
    torch.save(gpen.random_discriminator(), tmp_path / 'D.pth')
    return tmp_path


def convert(files, *extra):
    command = ['convert', 'gpen', '--generator', f'{files}/G.pth', '--output', f'{files}/out']
    return cli.main([*command, *extra])


def fault_of(path, convert=convert_generator):
    with pytest.raises(UsageError) as caught:
        convert(path)
    assert '\n' not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_command_writes_networks_that_load_network_reads(files):
    assert convert(files, '--discriminator', f'{files}/D.pth') == 0
    x = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        image = mmrbgan_arch.load_network(files / 'out/net_g.pth')(x)
        logit = mmrbgan_arch.load_network(files / 'out/net_d.pth')(x)
    torch.testing.assert_close(image, gpen.generator(gpen.random_generator(), x)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logit, gpen.discriminator(gpen.random_discriminator(), x), rtol=1e-4, atol=1e-4)


def test_files_have_basicsr_layout(files):
    convert(files)
    assert set(read_file(files / 'out/net_g.pth')) == {'params', 'params_ema'}


def test_discriminator_is_optional(files):
    convert(files)
    assert [path.name for path in (files / 'out').iterdir()] == ['net_g.pth']


def test_printed_options_build_the_network(files, capsys):
    convert(files, '--discriminator', f'{files}/D.pth')
    for line in capsys.readouterr().out.splitlines():
        path, _, options = line.partition(': ')
        options = yaml.safe_load(options)
        network = getattr(mmrbgan_arch, options.pop('type'))(**options)
        network.load_state_dict(torch.load(path, weights_only=True)['params'])


def test_converting_twice_gives_the_same_bytes(files):
    first, second = (convert_generator(files / 'G.pth').state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_converting_leaves_the_random_state_alone(files):
    before = torch.get_rng_state()
    convert_generator(files / 'G.pth')
    assert torch.equal(torch.get_rng_state(), before)


def test_without_mmrb_the_image_is_the_same(files):
    x = torch.rand(1, 3, 32, 32)
    plain = convert_generator(files / 'G.pth', use_mmrb=False)
    assert not any('blocks' in key for key in plain.encoder.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(plain(x), convert_generator(files / 'G.pth')(x))


@pytest.mark.parametrize('entry', ['g', 'g_ema'])
def test_generator_under_an_entry_of_a_training_file(tmp_path, entry):
    torch.save({entry: gpen.random_generator(), 'g_optim': {'state': {}}}, tmp_path / 'run.pth')
    assert convert_generator(tmp_path / 'run.pth').out_size == 32


def test_moving_average_goes_before_the_last_weights(tmp_path):
    content = {'g': gpen.random_generator(seed=1), 'g_ema': gpen.random_generator(seed=2)}
    torch.save(content, tmp_path / 'run.pth')
    constant = convert_generator(tmp_path / 'run.pth').prior.constant
    assert torch.equal(constant, content['g_ema']['generator.input.input'])


def test_generator_and_discriminator_in_one_training_file(files):
    torch.save({'g_ema': gpen.random_generator(), 'd': gpen.random_discriminator()}, files / 'G.pth')
    assert convert(files, '--discriminator', f'{files}/G.pth') == 0


def test_prefix_of_parallel_training_is_taken_off(tmp_path):
    torch.save({f'module.{key}': value for key, value in gpen.random_generator().items()}, tmp_path / 'G.pth')
    assert convert_generator(tmp_path / 'G.pth').out_size == 32


def test_half_precision_file_becomes_single(tmp_path):
    torch.save({key: value.half() for key, value in gpen.random_generator().items()}, tmp_path / 'G.pth')
    assert convert_generator(tmp_path / 'G.pth').prior.constant.dtype == torch.float32


def test_missing_key_is_named(tmp_path):
    state = gpen.random_generator()
    del state['generator.convs.3.noise.weight']
    torch.save(state, tmp_path / 'G.pth')
    assert 'generator.convs.3.noise.weight' in fault_of(tmp_path / 'G.pth')


def test_unknown_key_is_named(tmp_path):
    torch.save(gpen.random_generator() | {'extra.weight': torch.zeros(1)}, tmp_path / 'G.pth')
    assert 'not known: extra.weight' in fault_of(tmp_path / 'G.pth')


def test_layer_of_another_width_is_named(tmp_path):
    state = gpen.random_generator()
    state['generator.convs.3.activate.bias'] = torch.zeros(8)  # GPEN without concatenation
    torch.save(state, tmp_path / 'G.pth')
    assert 'generator.convs.3.activate.bias (8,) instead of (16,)' in fault_of(tmp_path / 'G.pth')


def test_widths_of_another_table_are_refused(tmp_path):
    state = gpen.random_generator()
    state['ecd2.0.1.weight'] = torch.zeros(12, 8, 3, 3)
    torch.save(state, tmp_path / 'G.pth')
    assert 'widths' in fault_of(tmp_path / 'G.pth')


def test_odd_width_is_refused(tmp_path):
    torch.save(gpen.random_generator(narrow=3 / 512), tmp_path / 'G.pth')
    assert 'odd widths' in fault_of(tmp_path / 'G.pth')
    convert_generator(tmp_path / 'G.pth', use_mmrb=False)


@pytest.mark.parametrize('key', ['ecd0.0.0.weight', 'ecd1.0.1.weight', 'final_linear.0.weight', 'final_linear.0.bias'])
def test_number_in_place_of_a_weight_is_refused(tmp_path, key):
    torch.save(gpen.random_generator() | {key: torch.tensor(1.0)}, tmp_path / 'G.pth')
    fault_of(tmp_path / 'G.pth')


def test_sparse_weight_is_refused(tmp_path):
    state = gpen.random_generator()
    torch.save(state | {'final_linear.0.weight': state['final_linear.0.weight'].to_sparse()}, tmp_path / 'G.pth')
    assert 'plain tensors' in fault_of(tmp_path / 'G.pth')


def test_another_blur_filter_is_refused(tmp_path):
    state = gpen.random_generator()
    state['ecd1.0.0.kernel'] = torch.ones(4, 4) / 16
    torch.save(state, tmp_path / 'G.pth')
    assert 'ecd1.0.0.kernel' in fault_of(tmp_path / 'G.pth')


def test_discriminator_given_as_generator_is_refused(files):
    assert 'ecd0.0.0.weight' in fault_of(files / 'D.pth')


def test_generator_given_as_discriminator_is_refused(files):
    assert 'convs.0.0.weight' in fault_of(files / 'G.pth', convert_discriminator)


def test_no_file_is_written_when_one_of_two_is_refused(files, capsys):
    assert convert(files, '--discriminator', f'{files}/G.pth') == 2
    assert not (files / 'out').exists()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_output_that_is_a_file_is_one_line(files, capsys):
    (files / 'out').write_text('here before')
    assert convert(files) == 2
    assert (files / 'out').read_text() == 'here before'
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_full_disk_is_one_line_and_leaves_no_part(files, capsys, monkeypatch):
    def fail(content, file):
        file.write(b'half of it')
        raise RuntimeError('unexpected pos 64 vs 0')  # what torch makes of ENOSPC

    monkeypatch.setattr(torch, 'save', fail)
    assert convert(files) == 2
    assert list((files / 'out').iterdir()) == []
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_arcface_file_is_written_in_basicsr_layout(tmp_path):
    network = mmrbgan_arch.MMRBGANArcFace(layers=(1, 1, 1, 1))
    torch.save({f'module.{key}': value for key, value in network.state_dict().items()}, tmp_path / 'arcface.pth')
    command = ['convert', 'arcface', '--weights', f'{tmp_path}/arcface.pth', '--output', f'{tmp_path}/out']
    assert cli.main(command) == 0
    written = read_file(tmp_path / 'out/net_identity.pth')['params']
    assert all(torch.equal(written[key], value) for key, value in network.state_dict().items())


def test_other_network_given_as_arcface_is_refused(files, capsys):
    convert(files)
    command = ['convert', 'arcface', '--weights', f'{files}/out/net_g.pth', '--output', f'{files}/out']
    assert cli.main(command) == 2
    assert 'holds MMRBGAN' in capsys.readouterr().err
