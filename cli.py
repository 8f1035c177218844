"""Start nasgen from a checkout: `python cli.py search --data digits`."""

from nasgen.cli import app

if __name__ == "__main__":
    app()
