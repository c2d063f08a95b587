"""``GFPGANer`` of the package gfpgan with our network; see ``bridges.gfpgan_api``."""

from .bridges.gfpgan_api import FACE_SIZE, GFPGANer

__all__ = ['FACE_SIZE', 'GFPGANer']
