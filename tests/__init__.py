"""The tests. They run side by side, one on each core.

So each has one thread unless it asks for more: those of libraries would only wait for each other,
which took two thirds of the processor time of tests that train. It must be said before numpy and
torch are loaded.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
