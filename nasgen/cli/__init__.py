"""The command line: parse, call one room, print. Nothing here decides anything.

Libraries are imported inside the commands, so that `nasgen --help` is quick and loads no torch.
"""

from nasgen.cli.app import app

# The order of these lines is the order of the commands in `nasgen --help`.
# isort: off
from nasgen.cli import searching
from nasgen.cli import ensembling
from nasgen.cli import pruning
from nasgen.cli import tuning
from nasgen.cli import reproducing
from nasgen.cli import studying
from nasgen.cli import looking
from nasgen.cli import benching
from nasgen.cli import predicting
from nasgen.cli import using
from nasgen.cli import checking

__all__ = [
    "app",
    "benching",
    "checking",
    "ensembling",
    "looking",
    "predicting",
    "pruning",
    "reproducing",
    "searching",
    "studying",
    "tuning",
    "using",
]
