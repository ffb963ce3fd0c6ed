"""What the fork server does before its first run: import what nearly every run needs, and hold it still.

A module to be imported, nothing more. The server ends with the process that started it, also while it still
imports: the kernel sees to it (Linux) once it is asked to, and a server whose starter was gone before ends at once.
`gc.freeze` keeps what is there out of the collector's sight: a fork would otherwise copy all of it as soon as it
collects, which takes longer than all the rest.
"""

import contextlib
import gc
import importlib
import os
import signal
import sys

if "multiprocessing.forkserver" in " ".join(sys.orig_argv):
    from harness.runs.processes import SERVED, end_with

    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the one that started it, also while it imports
    end_with(int(os.environ.get(SERVED, os.getppid())))

# What is missing here, each run pays anew: torch._dynamo alone takes a second.
NEEDED = (
    "torch",
    "torch._dynamo",
    "accelerate",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "transformers.masking_utils",
    "transformers.modeling_layers",
    "transformers.generation.utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "packaging.requirements",
    "harness.runs.run",
    "harness.papers.plugins",
)

for name in NEEDED:
    with contextlib.suppress(Exception):  # a library that is broken here fails the runs that need it, by name
        importlib.import_module(name)
gc.collect()
gc.freeze()
