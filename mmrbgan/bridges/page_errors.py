"""What the page says of an error: one line of text, without the server's paths."""

import logging
import re

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.images import UnreadableImageError

PATH = re.compile(r'(?:[A-Za-z]:)?[/\\](?:[^/\\\n:]+[/\\])+([^/\\\n:]+)')
_LOGGER = logging.getLogger(__name__)


def told(error: Exception) -> str:
    """Return the line of ``error`` with bare file names; of one that nobody foresaw, its kind, and log it whole."""
    if isinstance(error, UnreadableImageError | UsageError):
        return PATH.sub(r'\1', ' '.join(str(error).split()))
    _LOGGER.error('the page', exc_info=error)
    return f'this cannot be restored ({type(error).__name__})'
