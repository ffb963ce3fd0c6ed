"""What plugins use of the house beyond `from harness import ...`: files, stages, runs and models by name.

A plugin's hooks and its own commands (`harness <paper> ...`) import from here and from the toolbox alone; the
options that such commands share are in `harness.tools.options`, the progress bar in `harness.tools.bars`.

May import: `errors`, `papers`, `nn`, `data`, `fit`, `engines`, `runs`.
"""

from harness.runs.files import digest, write_json, write_text
from harness.runs.isolate import quiet_libraries
from harness.runs.provenance import file_digest
from harness.runs.results import Result, read_result
from harness.runs.run import rebuild
from harness.runs.stages import shared, stage
from harness.tools.names import (
    device_of,
    encoder_named,
    fetched,
    file_to_write,
    finished,
    folder_to_write,
    outside,
    picture_to_write,
    run_folder,
    tokenizer_named,
)

__all__ = [
    "Result",
    "device_of",
    "digest",
    "encoder_named",
    "fetched",
    "file_digest",
    "file_to_write",
    "finished",
    "folder_to_write",
    "outside",
    "picture_to_write",
    "quiet_libraries",
    "read_result",
    "rebuild",
    "run_folder",
    "shared",
    "stage",
    "tokenizer_named",
    "write_json",
    "write_text",
]
