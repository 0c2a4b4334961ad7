"""Checkpoints and trained models, read without torch and without executing anything in them."""
