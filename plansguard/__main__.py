"""Entry point of ``python -m plansguard``."""

from plansguard.cli import main

main()
