"""A training run of MMRBGANModel that takes a fraction of a second per iteration: faces, options, comparison."""

from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

SIZE = 64


def make_faces(folder, count=6):
    """Smooth random pictures with eyes and mouth where an aligned face has them."""
    from mmrbgan_data.components import write_landmarks

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    points = np.zeros((68, 2), np.float32)
    for part, (x, y) in ((slice(36, 42), (24, 30)), (slice(42, 48), (40, 30)), (slice(48, 68), (32, 47))):
        angles = np.linspace(0, 2 * np.pi, part.stop - part.start, endpoint=False)
        points[part] = np.stack([x + 5 * np.cos(angles), y + 2 * np.sin(angles)], axis=1)
    for i in range(count):
        picture = cv2.resize(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (SIZE, SIZE))
        cv2.imwrite(str(folder / f'{i}.png'), picture)
    write_landmarks(folder / 'landmarks.csv', {f'{i}.png': points for i in range(count)})


def options(faces='faces', workers=0, batch=2, **changes):
    """Every loss that needs no foreign weights, R1 every third iteration, checkpoints every second."""
    return {
        'name': 'tiny',
        'model_type': 'MMRBGANModel',
        'num_gpu': 0,
        'manual_seed': 3,
        'datasets': {
            'train': {
                'type': 'MMRBGANDegradationDataset',
                'dataroot_gt': str(faces),
                'image_size': SIZE,
                'use_hflip': True,
                'num_worker_per_gpu': workers,
                'batch_size_per_gpu': batch,
            },
            'val': {'type': 'MMRBGANTestDataset', 'dataroot_gt': str(faces), 'image_size': SIZE, 'max_images': 3},
        },
        'network_g': {'type': 'MMRBGAN', 'out_size': SIZE, 'narrow': 0.03125, 'style_dim': 16, 'num_mlp': 2},
        'network_d': {'type': 'MMRBGANDiscriminator', 'out_size': SIZE, 'narrow': 0.03125, 'freeze_layers': 1},
        'network_d_component': {'type': 'MMRBGANComponentDiscriminator', 'num_feat': 4},
        'train': {
            'total_iter': 8,
            'ema_decay': 0.5,
            'pixel_opt': {'loss_weight': 8},
            'pyramid_opt': {'loss_weight': 1},
            'gan_opt': {'loss_weight': 0.5},
            'component_opt': {'loss_weight': 3},
            'r1_opt': {'loss_weight': 10, 'interval': 3},
            **changes.pop('train', {}),
        },
        'val': {'val_freq': 4, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
        **changes,
    }


def write_yml(content, path='run.yml'):
    Path(path).write_text(yaml.safe_dump(content), encoding='utf-8')
    return str(path)


def start(content, *flags, command='train'):
    """Run in this process, in the current folder; return the exit status."""
    from mmrbgan.running.runner import main

    return main([command, '-opt', write_yml(content), *flags])


def final_state(folder, iteration=8):
    """All tensors of a set: weights, moving average, optimizers."""
    found = {}
    folder = Path(folder)
    for path in (*folder.glob(f'models/net_*_{iteration}.pth'), folder / f'training_states/{iteration}.state'):
        content = torch.load(path, weights_only=True)
        kept = content if path.suffix == '.pth' else {'optimizers': content['optimizers']}
        found.update(flatten(kept, path.name))
    return found


def flatten(value, prefix=''):
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {name: tensor for key, item in items for name, tensor in flatten(item, f'{prefix}/{key}').items()}


def differences(one, other):
    """Names of the tensors that are not the same bits."""
    assert one and one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]
