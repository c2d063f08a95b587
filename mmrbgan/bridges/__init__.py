"""The restorer inside other programs: GFPGAN, ComfyUI, spandrel."""
