"""Photographs into a data set: find, crop, judge, write, report."""
