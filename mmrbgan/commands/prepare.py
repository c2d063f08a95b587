"""``mmrbgan prepare``: photographs to a training set, a sheet of degradations, the paper's test sets."""

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from mmrbgan_arch.support.atomic_files import writing
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.folder_lock import FolderLock
from mmrbgan_arch.support.option_reader import read_options

EPILOG = (
    "dlib's 68-point predictor was trained on iBUG 300-W, licensed for research only. With ready --landmarks it "
    'is not used. Run the same command again, and it goes on where it stopped.'
)
DEFAULT_DETECTOR = 'centerface'
SETS = ('celeba', 'lfw', 'fddb', 'webface', 'wflw')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of all three uses."""
    parser.epilog = EPILOG
    parser.add_argument('photos', nargs='?', type=Path, metavar='PHOTOS', help='folder of photographs, searched whole')
    parser.add_argument('-o', '--output', type=Path, metavar='DATASET', help='folder to make; default: datasets/NAME')
    parser.add_argument('--size', type=int, default=512, choices=(256, 512, 1024), help='side of the crops in pixels')
    parser.add_argument('--lmdb', action='store_true', help='write train.lmdb and val.lmdb in the place of folders')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, metavar='N', help='processes')
    parser.add_argument(
        '--min-face',
        type=float,
        metavar='PX',
        help='least side of a crop in the photograph; default: a quarter of --size',
    )
    parser.add_argument('--min-sharpness', type=float, default=10, metavar='V', help='least variance of the Laplacian')
    parser.add_argument(
        '--val-share', type=float, default=0.05, metavar='S', help='share of photographs for validation'
    )
    parser.add_argument(
        '--landmarks', type=Path, metavar='FILE', help="ready landmarks.csv, or FFHQ's ffhq-dataset-v2.json"
    )
    parser.add_argument('--keep-duplicates', action='store_true', help='keep near duplicates of other faces, too')
    parser.add_argument('--aligned', action='store_true', help='the photographs are aligned faces: only scale them')
    parser.add_argument(
        '--detector',
        metavar='NAME',
        help='centerface (the default; --set fddb: retinaface), dlib, retinaface or retinaface-resnet50',
    )
    parser.add_argument('--detector-weights', metavar='FILE', help="the detector's file")
    parser.add_argument('--preview', action='store_true', help='only write a sheet of degradations of PHOTOS to -o')
    parser.add_argument(
        '--opt', type=Path, metavar='YML', help='for --preview: take the degradation of this option file'
    )
    parser.add_argument('--set', choices=SETS, help="make one of the paper's test sets from its public download")
    parser.add_argument('--root', type=Path, metavar='DIR', help='for --set: the download, unpacked')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='for --set wflw: of the choice at random')


def run(args: argparse.Namespace) -> int:
    """Do what the arguments ask for.

    Raises:
        UsageError: what is asked for cannot be done, or the output cannot be written.
    """
    if not args.set and args.photos is None:
        raise UsageError('name a folder of PHOTOS, or --set with --root; see `mmrbgan prepare --help`')
    output = args.output or _default_output(args)
    with writing(output, 'make room or choose another -o, then run it again: it goes on where it stopped'):
        if args.preview and not args.set:
            return _preview(args, output)
        with FolderLock(output, 'wait for it, end it, or choose another -o'):
            return (_make_set if args.set else _build)(args, output)


def _default_output(args: argparse.Namespace) -> Path:
    if args.set:
        result: Path = Path('datasets') / 'test' / args.set
        return result
    return Path('degradations.jpg') if args.preview else Path('datasets') / args.photos.resolve().name


def _build(args: argparse.Namespace, output: Path) -> int:
    from mmrbgan_data.photograph_files import list_photographs
    from mmrbgan_data.prepare.builder import DatasetBuilder
    from mmrbgan_data.prepare.photographs import find_photographs
    from mmrbgan_data.prepare.summary import write_contact_sheets, write_report

    _refuse_inside(output, args.photos)
    listing = list_photographs(args.photos) if args.photos.is_dir() else None
    photographs = find_photographs(args.photos, args.landmarks, args.val_share, listing)
    photos = args.photos.resolve()
    settings = _crop_settings(args, [f'{photos}/{photograph.name}' for photograph in photographs])
    _check_detector(settings, photographs[0].landmarks is not None)
    given = {'val_share': args.val_share, 'landmarks': args.landmarks and args.landmarks.name}
    builder = DatasetBuilder(output, settings, args.lmdb, args.workers, given, args.keep_duplicates)
    entries = builder.build(photographs)
    others = listing.skipped if listing else []
    report = write_report(builder, entries, {**dataclasses.asdict(settings), 'val_share': args.val_share}, others)
    sheets = write_contact_sheets(builder, entries)
    skipped = ', '.join(f'{count} {reason}' for reason, count in report['skipped'].items()) or 'nothing'
    faces = report['faces']
    if not any(faces.values()):
        raise UsageError(
            f'{args.photos}: no face could be used (skipped: {skipped}); {output / "report.json"} says why'
        )
    _say(f'{output}: {faces["train"]} faces to train, {faces["val"]} to validate; skipped: {skipped}')
    _say(f'look at {", ".join(map(str, sheets))}; every skipped file is in {output / "report.json"}')
    return 0


def _crop_settings(args: argparse.Namespace, paths: list[str]) -> Any:
    from mmrbgan_data.prepare.cropping import CropSettings
    from mmrbgan_data.prepare.photographs import FFHQ_WILD

    # FFHQ's own list: its faces of 1024 px are aligned, its photographs in the wild are not.
    is_ffhq = args.landmarks is not None and args.landmarks.suffix == '.json'
    aligned = args.aligned or (is_ffhq and not any(FFHQ_WILD in path for path in paths))
    min_face = args.size / 4 if args.min_face is None else args.min_face
    detector = args.detector or DEFAULT_DETECTOR
    return CropSettings(args.size, min_face, args.min_sharpness, detector, args.detector_weights, aligned)


def _check_detector(settings: Any, has_landmarks: bool) -> None:
    """Load the detector once here: what it misses is one line now, and it is fetched once and not per worker."""
    from mmrbgan_data.prepare.cropping import load_detector

    if not has_landmarks:
        load_detector(settings.detector, settings.detector_weights)


def _refuse_inside(output: Path, photos: Path) -> None:
    if photos.resolve() in (output.resolve(), *output.resolve().parents):
        raise UsageError(f'-o {output}: lies inside {photos}, whose photographs it would join; choose a place outside')


def _preview(args: argparse.Namespace, target: Path) -> int:
    from mmrbgan_data.degradation import DegradationOptions
    from mmrbgan_data.images import ImageSource, UnreadableImageError
    from mmrbgan_data.prepare.summary import write_preview

    section: dict[str, Any] = {}
    if args.opt:
        section = _degradation_section(args.opt)
    options = read_options(DegradationOptions, section, f'{args.opt}: degradation')
    if target.suffix.lower() not in ('.jpg', '.png'):
        raise UsageError(f'-o {target}: a preview is a picture; name a .jpg or .png')
    try:
        write_preview(ImageSource(args.photos, 'PHOTOS'), target, options, args.size)
    except UnreadableImageError as error:
        raise UsageError(str(error)) from error
    _say(f'wrote {target}')
    return 0


def _degradation_section(path: Path) -> dict[str, Any]:
    """Return ``degradation`` of the first dataset that has one in an option file."""
    from ..running.options.run_yml import load_yml

    datasets = load_yml(path).get('datasets')
    if not isinstance(datasets, dict):
        raise UsageError(f'--opt {path}: no option file with a section `datasets`')
    sections = [section for section in datasets.values() if isinstance(section, dict)]
    return next((section['degradation'] for section in sections if 'degradation' in section), {})


def _make_set(args: argparse.Namespace, output: Path) -> int:
    from mmrbgan_data.prepare.cropping import CropSettings
    from mmrbgan_data.prepare.public_test_sets import SETS, Making, make_test_set

    if args.root is None:
        raise UsageError(f'--set {args.set} needs --root DIR, the folder of its unpacked download')
    test_set = SETS[args.set]
    if args.landmarks and test_set.order != 'yaw':
        raise UsageError(f'--landmarks: --set {args.set} is not chosen by them; leave it out')
    detector = args.detector or test_set.detector
    settings = CropSettings(args.size, 0, 0, detector, args.detector_weights, test_set.aligned)
    making = Making(args.set, args.root, settings, args.seed, args.landmarks, args.workers)
    _say(make_test_set(making, output))
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + '\n')
