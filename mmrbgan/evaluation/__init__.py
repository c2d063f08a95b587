"""Scores of restored faces, of any method: metrics, records, poses, times."""
