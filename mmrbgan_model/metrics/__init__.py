"""Metrics of restored faces."""
