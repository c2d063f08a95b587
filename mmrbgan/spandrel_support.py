"""Lets spandrel's ``ModelLoader`` load our files; see ``bridges.spandrel_loader``."""

from .bridges.spandrel_loader import MARKS, MMRBGANArchitecture, register, restore_unit

__all__ = ['MARKS', 'MMRBGANArchitecture', 'register', 'restore_unit']
