"""The commands: flags and exit status, one file each; ``mmrbgan.cli`` lists them."""
