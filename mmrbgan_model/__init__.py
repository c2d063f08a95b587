"""The training of MMRBGAN: model, loss terms, checkpoints, validation."""
