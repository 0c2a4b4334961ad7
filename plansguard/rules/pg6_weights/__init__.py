"""PG6xx: checkpoints, and weights for fine-tuning."""
