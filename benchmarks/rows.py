"""The table of contents: every row of `make bench`, the module that measures it, and the minutes it may take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A row: its name for `--only`, the function `measure(toy)` in `module`, its minutes on two cores.

    `number` is its place in the table of targets, 0 where it is told for information. `torch` says that it imports
    torch, `cores` how many a CPU row may use, `cuda` that it needs a GPU.
    """

    name: str
    module: str
    number: int
    minutes: float
    torch: bool = True
    cores: int = 1
    cuda: bool = False
    function: str = "measure"


ROWS = (
    Row("commands", "commands", 1, 0.5, torch=False),
    Row("loop", "loop", 2, 3, cores=2),
    Row("sweep", "sweeps", 3, 4, cores=2),
    Row("report", "reports", 4, 2),
    Row("alibi", "positions", 5, 2, function="against_sinusoids"),
    Row("bloom-mpt", "positions", 6, 2, function="against_libraries"),
    Row("lora", "adapters", 7, 3),
    Row("simcse", "contrasting", 8, 2.5),
    Row("encoding", "encoding", 9, 3),
    Row("rdass", "summaries", 10, 3),
    Row("walk", "walking", 11, 3, torch=False),
    Row("neighbours", "searching", 12, 5, torch=False),
    Row("copies", "copies", 0, 7, torch=False),
    Row("packing", "packing", 13, 0.5, torch=False),
    Row("tables", "tables", 14, 0.5, torch=False),
    Row("magpie", "sampling", 15, 3.5),
    Row("endpoint", "endpoints", 0, 1.5),
    Row("score", "rollouts", 16, 1),
    Row("bootstrap", "resampling", 17, 1.5, torch=False),
    Row("gate", "proposals", 18, 1, torch=False, function="gate"),
    Row("decide", "proposals", 0, 0.5, torch=False, function="looks"),
    Row("folders", "reports", 0, 5, function="folders"),
    Row("growth", "growth", 0, 3.5),
    Row("gpu", "gpu", 0, 3, cuda=True),
)
