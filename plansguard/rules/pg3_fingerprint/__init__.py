"""PG3xx: plans against the fingerprint of their dataset."""
