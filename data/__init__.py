"""The data of MMRBGAN (imported as ``mmrbgan_data``): degradation, datasets, facial components."""
