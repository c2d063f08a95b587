"""`mmrbgan ui`: a page to restore a photograph in."""

import argparse

from mmrbgan_arch.support.errors import UsageError

from .restore import add_restorer_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `mmrbgan ui`."""
    parser.add_argument('--port', type=int, help='(default: the first free one from 7860)')
    parser.add_argument('--host', default='127.0.0.1', help='0.0.0.0 lets other machines in (default: %(default)s)')
    parser.add_argument('--max-upload', type=int, default=500, metavar='MB', help='(default: %(default)s)')
    add_restorer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C or SIGTERM; return 0.

    Raises:
        UsageError: Gradio is not installed, or the weights cannot be used.
    """
    from ..bridges.web_page import import_gradio, serve
    from ..restoring.job import make_restorer
    from ..restoring.settings import Settings

    import_gradio()
    if args.max_upload < 1:
        raise UsageError(f'--max-upload {args.max_upload}: must be 1 or more')
    serve(make_restorer(args, Settings()), args.host, args.port, args.max_upload)
    return 0
