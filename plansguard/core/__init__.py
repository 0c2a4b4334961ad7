"""Errors, the report, text of messages, atomic writes, digests, signals and child processes."""
