"""MMRBGAN for BasicSR: restores badly degraded faces in any pose."""
