"""The two datasets, what they read from the yml, and the order of their samples."""
