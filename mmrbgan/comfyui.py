"""A ComfyUI node that restores the faces of a batch of images; see ``bridges.comfyui_node``."""

from .bridges.comfyui_node import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS, RestoreFaces, load_restorer

__all__ = ['NODE_CLASS_MAPPINGS', 'NODE_DISPLAY_NAME_MAPPINGS', 'RestoreFaces', 'load_restorer']
