"""Drawn faces for runs without any download."""
