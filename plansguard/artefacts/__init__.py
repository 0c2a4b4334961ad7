"""Readers of large untrusted files: checkpoints, trained models, preprocessed arrays."""
