"""PG8xx: the machine and the installed packages."""
