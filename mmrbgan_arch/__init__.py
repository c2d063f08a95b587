"""The networks of MMRBGAN (arXiv 2205.14377), usable with and without BasicSR."""
