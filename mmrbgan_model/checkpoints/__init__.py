"""Checkpoints: complete sets, written whole, with the random numbers and versions that a resume needs."""
