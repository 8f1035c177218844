"""`python -m nasgen` is the command line."""

from nasgen.cli import app

if __name__ == "__main__":
    app()
