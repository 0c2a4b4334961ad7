"""Errors, the report, text, atomic writes, digests and child processes: what every other room may use."""
