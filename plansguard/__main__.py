"""Entry point of ``plansguard`` and ``python -m plansguard``."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while modules are loaded ends it without a traceback."""
    try:
        from plansguard.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(128 + 2)


if __name__ == "__main__":
    main()
