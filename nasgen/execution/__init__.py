"""Where trials run. What crosses a process border is JSON; no object is pickled."""

from nasgen.registry import Entry

ENTRIES = (
    Entry("serial", "nasgen.execution.serial:Serial", "in this process, one after the other"),
    Entry("processes", "nasgen.execution.processes:Processes", "local worker processes"),
)
