"""Say that a suite is not built yet, and never let that look like success: python scripts/not_built.py SUITE."""

import sys

EXIT_NOT_BUILT = 69
"""EX_UNAVAILABLE of sysexits.h."""


def main(arguments: list[str]) -> int:
    """Print one line about the suite named first; options after it are ignored, since there is nothing to run."""
    suite = arguments[0] if arguments else "requested"
    print(f"the {suite} suite is not built yet; nothing was executed", file=sys.stderr)
    return EXIT_NOT_BUILT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
