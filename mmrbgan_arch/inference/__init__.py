"""The generator for restoring only: constants folded, passes fused, Winograd on CPUs."""
