"""Migrations of plans from one dataset to another: plan, carry out and undo them."""
