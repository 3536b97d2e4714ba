"""`python -m penstock`, and what the command `penstock` runs."""

from __future__ import annotations


def main() -> None:
    """Run the command that the arguments name."""
    from cli.main import app

    app(prog_name="penstock")


if __name__ == "__main__":
    main()
