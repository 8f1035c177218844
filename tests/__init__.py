"""The tests. They run side by side, one on each core.

So each process has one thread, and with pytest-xdist one core, unless it asks for more: threads
would only wait for each other, which took two thirds of the processor time of tests that train.
Their number must be said before numpy and torch are loaded; the core is for what takes as many
threads as there are cores, such as the answers of a network that is tested.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # such as gw1; processes that it starts have it
if CORES and WORKER:
    own = sorted(CORES)[int(WORKER.removeprefix("gw")) % len(CORES)]
    os.sched_setaffinity(0, {own})
