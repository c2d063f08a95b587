"""`mmrbgan ui`: a page to restore a photograph in."""

import argparse

from .restore import add_restorer_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `mmrbgan ui`."""
    parser.add_argument('--port', type=int, help='(default: the first free one from 7860)')
    parser.add_argument('--host', default='127.0.0.1', help='0.0.0.0 lets other machines in (default: %(default)s)')
    add_restorer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C; return 0.

    Raises:
        UsageError: Gradio is not installed, or the weights cannot be used.
    """
    from ..bridges.web_page import build_page, import_gradio
    from ..restoring.job import make_restorer
    from ..restoring.settings import Settings

    import_gradio()
    page = build_page(make_restorer(args, Settings()))
    page.launch(server_name=args.host, server_port=args.port, share=False)
    return 0
