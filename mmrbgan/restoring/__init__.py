"""Photographs in, the same with restored faces out: find, align, restore, paste."""
