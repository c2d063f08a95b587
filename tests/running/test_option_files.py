"""Every option file opens, passes the checks and builds its networks at its full size (without memory for weights)."""

from pathlib import Path

import pytest
import torch

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.option_reader import read_options

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / 'options').rglob('*.yml'))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]


@pytest.fixture(scope='module', autouse=True)
def plugin():
    """Everything registered, and basicsr importable."""
    import mmrbgan.plugin  # noqa: F401


@pytest.fixture(params=FILES, ids=NAMES)
def path(request):
    return request.param


@pytest.fixture
def options(path):
    from mmrbgan.running.options.run_yml import load_yml

    return load_yml(path)


def test_header_says_what_a_reader_needs(path):
    header = [line for line in path.read_text(encoding='utf-8').splitlines() if line.startswith('#')]
    text = '\n'.join(header)
    for word in ('Purpose:', 'Data:', 'Hardware:', 'Time:', 'Launch:'):
        assert word in text, f'{path.name} lacks {word}'


def test_name_is_the_file(path, options):
    assert options['name'] == path.stem


def test_networks_build(options):
    from basicsr.archs import build_network

    with torch.device('meta'):
        for key in (key for key in options if key.startswith('network_')):
            if options[key]['type'] != 'SpandrelNet':  # wraps a file that its user fetches
                build_network(options[key])


def test_sizes_of_data_and_network_agree(options):
    size = options['network_g'].get('out_size')
    if size is None:
        pytest.skip('this network takes any size')
    for dataset in options['datasets'].values():
        assert dataset.get('image_size', size) == size


def test_train_section_reads(options):
    if 'train' not in options or options['model_type'] != 'MMRBGANModel':
        pytest.skip('no train section of ours')
    from mmrbgan_model.options import TrainOptions

    read_options(TrainOptions, options['train'], 'train')


def test_dataset_sections_read(options):
    from basicsr.utils.registry import DATASET_REGISTRY

    for phase, section in options['datasets'].items():
        options_class = getattr(DATASET_REGISTRY.get(section['type']), 'options_class', None)
        if options_class is not None:
            read_options(options_class, section, f'datasets.{phase}')


def test_the_full_run_has_the_papers_numbers():
    from mmrbgan.running.options.run_yml import load_yml

    train = load_yml(ROOT / 'options/train_mmrbgan.yml')['train']
    assert (train['optim_g']['lr_codec'], train['optim_g']['lr_prior'], train['optim_g']['lr_noise']) == (
        2e-3,
        2e-4,
        2e-3,
    )
    assert (train['optim_component']['lr'], train['optim_d']['lr']) == (2e-3, 2e-5)
    weights = {key: train[key]['loss_weight'] for key in train if key.endswith('_opt')}
    assert weights == {
        'pixel_opt': 8,
        'perceptual_opt': 0.02,
        'pyramid_opt': 1,
        'identity_opt': 10,
        'gan_opt': 0.5,
        'component_opt': 3,
        'r1_opt': 10,
    }
