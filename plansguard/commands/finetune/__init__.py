"""The road from raw images to fine-tuned folds, as one command."""
