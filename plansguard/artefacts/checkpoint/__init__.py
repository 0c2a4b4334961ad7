"""Readers of checkpoints and trained models, without torch and without executing anything in them."""
