"""PG1xx: one plans file by itself."""
