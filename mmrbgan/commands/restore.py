"""`mmrbgan restore`: its flags; the work is in ``restoring.job``, which `--help` does not wait for."""

import argparse

WEAK_EVIDENCE = 'a score against a badly degraded input is weak evidence, for and against'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all flags of `mmrbgan restore`."""
    parser.add_argument('inputs', nargs='*', metavar='INPUT', help='photographs, films, and folders of them')
    parser.add_argument('-o', '--output', metavar='OUT', help='folder for the results, or a file for a single one')
    parser.add_argument(
        '--demo', action='store_true', help='degrade and restore a public-domain photograph (into mmrbgan_demo, or -o)'
    )
    _add_face_arguments(parser.add_argument_group('faces'))
    _add_look_arguments(parser.add_argument_group('look'))
    _add_output_arguments(parser.add_argument_group('output'))
    _add_film_arguments(parser.add_argument_group('films'))
    add_restorer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Restore; return the exit status."""
    from ..restoring import job
    from ..restoring.film.film_job import restore_films
    from ..running.shared_work import own_share

    return job.run(args, restore_films, None if args.demo else own_share())


def add_restorer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which networks run, and where."""
    group = parser.add_argument_group('networks')
    group.add_argument(
        '--weights', metavar='FILE|NAME', help='yours, or the name of converted public ones (default: those shipped)'
    )
    group.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: %(default)s)')
    group.add_argument(
        '--engine',
        default='auto',
        metavar='auto|torch|onnx',
        help='onnx: by onnxruntime, on the CPU; auto: that where it is installed, starts sooner and gives the same, '
        'else torch (default: %(default)s)',
    )
    group.add_argument('--batch', type=int, help='faces at once (default: as many as fit; halved when memory runs out)')
    group.add_argument(
        '--precision',
        default='auto',
        help='auto, float32, float16, bfloat16 (auto: bfloat16 where the hardware multiplies it, else float32)',
    )
    group.add_argument(
        '--detector',
        default='auto',
        help='auto: centerface (any size, any direction), dlib (frontal faces), retinaface or retinaface-resnet50 '
        '(default: %(default)s)',
    )
    group.add_argument(
        '--detector-weights',
        metavar='FILE',
        help="the detector's file (default: the package's, the cache, else fetched)",
    )
    group.add_argument(
        '--mask',
        default='auto',
        help='ellipse, parsenet, auto: parsenet if its weights are here (default: %(default)s)',
    )
    group.add_argument(
        '--recogniser', default='dlib', help='dlib, mobilefacenet, arcface: scores identity (default: %(default)s)'
    )
    group.add_argument('--recogniser-weights', metavar='FILE', help="the recogniser's file")


def _add_face_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--faces',
        default='all',
        metavar='all|all-uncertain|largest|center|FILE.json',
        help='which are restored; all: those that are certain; FILE.json: a report of --json, in which you set '
        '"restore" to true or false (default: all)',
    )
    group.add_argument(
        '--min-face', type=float, default=20, metavar='PX', help='leave smaller ones alone (default: %(default)g)'
    )
    group.add_argument('--aligned', action='store_true', help='each input is one aligned face (FFHQ) already')


def _add_look_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument('--scale', type=float, default=1, help='enlarge the photograph (default: %(default)g)')
    group.add_argument(
        '--strength', type=float, default=1, metavar='0..1', help='0 changes nothing (default: %(default)g)'
    )
    group.add_argument(
        '--color', default='keep', metavar='keep|free', help="keep: the input's colour and light (default: %(default)s)"
    )
    group.add_argument(
        '--detail',
        default='keep',
        metavar='keep|replace',
        help="keep: in faces larger than the network's, what is finer than its pixels stays, noise too (default: keep)",
    )
    group.add_argument(
        '--identity',
        action='store_true',
        dest='measure_identity',
        help=f'score each face against its input; {WEAK_EVIDENCE}',
    )
    group.add_argument(
        '--min-identity',
        type=float,
        metavar='T',
        help=f'lower the strength of a face until its score is T; {WEAK_EVIDENCE}. dlib: 1 - distance, the same person '
        'from 0.4 up; others: cosine',
    )


def _add_film_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--steady',
        type=float,
        default=1,
        metavar='0..1',
        help='average restored faces over neighbouring frames where nothing moved; 0: frame by frame (default: 1)',
    )
    group.add_argument('--preview', action='store_true', help='write before | after as a second film')
    group.add_argument('--resume', action='store_true', help='go on with a film whose restoring was ended')
    group.add_argument('--codec', metavar='ENCODER', help="such as libx264 (default: the film's kind, else H.264)")
    group.add_argument('--crf', type=float, help="the encoder's quality, less is better (default: hard to tell apart)")
    group.add_argument('--lossless', action='store_true', help='FFV1 in .mkv: pixels without a face stay as they are')
    group.add_argument('--deinterlace', action='store_true', help='make whole frames of two fields')
    group.add_argument(
        '--detect-every',
        type=int,
        default=8,
        metavar='N',
        help='frames between detections while all faces are surely followed (default: %(default)s)',
    )


def _add_output_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--format',
        default='auto',
        choices=('auto', 'same', 'png', 'jpg', 'tif', 'webp'),
        help="auto: without loss, so JPEG becomes PNG; same: the input's, JPEG again (default: %(default)s)",
    )
    group.add_argument(
        '--json',
        action='store_true',
        help='write faces.json (of a film NAME.json): where faces are, what was done and why',
    )
    group.add_argument('--sheet', action='store_true', help='write a before/after sheet per photograph')
