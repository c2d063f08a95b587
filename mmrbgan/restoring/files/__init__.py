"""Photographs in and out of files and of other programs, with all that they carry."""
