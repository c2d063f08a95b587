"""Packaging of MMRBGAN for BasicSR; pyproject.toml holds the build system and the tools' settings."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# basicsr 1.4.2 cannot be built on Python 3.13 and later; the networks and the restorer run without it.
REQUIRES = [
    'basicsr==1.4.2; python_version < "3.13"',
    'setuptools',  # gives distutils back to basicsr on Python 3.12
    'torch>=2.4',
    'torchvision>=0.19',
    'numpy>=1.26',
    'opencv-python>=4.8',
    'facexlib>=0.3.0',
    'dlib-bin>=19.24',
    'face_recognition_models>=0.3.0',
    'lmdb>=1.4',
    'pyyaml>=6.0',
    'tqdm>=4.65',
    'scipy>=1.11',
    'scikit-image>=0.22',
    'matplotlib>=3.8',
    'safetensors>=0.4',
    'tensorboard>=2.14',
    'platformdirs>=4.0',
]

EXTRAS = {
    'lpips': ['lpips>=0.1.4'],
    'heic': ['pillow-heif>=0.18'],
    'ui': ['gradio>=5.30'],
    'export': ['onnx>=1.16', 'onnxruntime>=1.18'],
    'baselines': ['spandrel>=0.4', 'spandrel_extra_arches>=0.2'],
}

setup(
    version=(HERE / 'VERSION').read_text(encoding='utf-8').strip(),
    # data/ is imported as mmrbgan_data
    packages=[
        *find_packages(include=['mmrbgan*']),
        'mmrbgan_data',
        *(f'mmrbgan_data.{room}' for room in find_packages('data')),
    ],
    package_dir={'mmrbgan_data': 'data'},
    package_data={'': ['py.typed'], 'mmrbgan': ['weights_files/*']},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={
        'console_scripts': ['basicsr = mmrbgan.running.runner:main', 'mmrbgan = mmrbgan.cli:main'],
        'basicsr.plugins': ['mmrbgan = mmrbgan.plugin'],
    },
)
