"""PG5xx: preprocessed data."""
