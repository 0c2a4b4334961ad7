"""PG4xx: plans before and after a migration."""
