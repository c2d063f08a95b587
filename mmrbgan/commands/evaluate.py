"""`mmrbgan evaluate`: its flags; the work is in ``evaluation.scoring``, which `--help` does not wait for."""

import argparse

from ..evaluation.metric_table import METRICS

TABLES = ('synthetic', 'real', 'sr', 'ablation')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all flags of `mmrbgan evaluate`."""
    add = parser.add_argument
    add('restored', nargs='?', metavar='RESTORED', help="a folder of restored faces, any method's")
    add('--gt', metavar='DIR', help='the ground truth; faces are paired by file name')
    add('--lq', metavar='DIR', help='the degraded inputs (for sheets, and for poses where there is no ground truth)')
    add('--ffhq', action='append', default=[], metavar='STATS', help='stored FID statistics (.npz, .pth); repeatable')
    add('--by-pose', action='store_true', help='every metric also by how far the face is turned')
    add(
        '--by',
        metavar='TABLE|PATTERN',
        help='every metric also by groups: a .csv with the headings file,group, or a regular expression whose parts '
        "in parentheses name a file's groups, such as '^me_(?P<group>[a-z]+)_(?P<sex>[a-z]+)_'",
    )
    add(
        '--landmarks', metavar='CSV', help='landmarks for the poses (default: landmarks.csv beside GT or LQ, else dlib)'
    )
    add('--metrics', nargs='+', metavar='NAME', help=f'of {", ".join(METRICS)} (default: all whose weights are here)')
    add('--weights', action='append', default=[], metavar='NAME=FILE', help="a metric's file; repeatable")
    add('--fid-interval', action='store_true', help='keep the features and give FID a 95 %% interval')
    add('--save-stats', metavar='FILE', help="write the restored faces' FID statistics (.npz)")
    add('--name', help='the method, in tables (default: the name of the folder)')
    add('--table', choices=TABLES, help='where it belongs in a report (default: synthetic with --gt, else real)')
    add('--method-weights', metavar='FILE', help="the method's network file; its hash goes into the record")
    add('--out', metavar='FILE', help='the record (default: evaluations/NAME.json)')
    add('--video', action='store_true', help='RESTORED, --lq and --gt are films: flicker, PSNR, motion of landmarks')
    add('--batch', type=int, default=4, help='faces at once (default: %(default)s)')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 (default: %(default)s)')
    add('--time', nargs='*', metavar='OPT', help='seconds per face at 512 px of the networks of these option files')
    add('--faces', metavar='DIR', help='for --time: real faces of 512 px, taken at random, one by one; with their IFQA')
    add('--repeats', type=int, metavar='N', help='timed passes of --time (default: 5, with --faces 100)')
    add('--precision', default='float32', choices=('float32', 'float16', 'bfloat16', 'auto'), help='of --time')


def run(args: argparse.Namespace) -> int:
    """Score a folder, or time networks; return the exit status."""
    from ..evaluation import scoring
    from ..running.shared_work import own_share

    return scoring.score_video(args) if args.video else scoring.run(args, own_share())
