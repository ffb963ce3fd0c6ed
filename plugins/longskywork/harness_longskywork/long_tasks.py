"""Public long-context tasks by lm-eval: RULER's, made at the lengths that are asked for, and LongBench's.

RULER makes its texts itself, of words that the package `wonderwords` has; tasks with essays or questions fetch those,
and LongBench's data lie on the hub. What is missing is named.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

from harness.errors import UsageError, said
from harness.nn.evals import lm_eval_scores

NOT_THIS_LENGTH = -1.0  # what RULER's tasks give at lengths that no document has


def scores(
    model: Any, tokenizer: Any, tasks: Sequence[str], lengths: Sequence[int], limit: int | None
) -> dict[str, dict[str, float]]:
    """Return `{task: {metric: value}}`; RULER's metrics are lengths in tokens.

    Raises UsageError that names what a task lacks: a package, or data that cannot be fetched.
    """
    from datasets.exceptions import DatasetNotFoundError

    # Saved anew, since RULER loads it as code that is trusted: what we save names none.
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer.save_pretrained(folder)
        told = {"tokenizer": folder, "max_seq_lengths": list(lengths)}
        try:
            found, _ = lm_eval_scores(
                model,
                tokenizer,
                tasks,
                limit=limit,
                batch_size=1,
                max_length=max(lengths) + 256,
                metadata=told,
            )
        except ImportError as error:
            raise UsageError(
                f"{', '.join(tasks)}: pip install 'lm_eval[ruler,longbench]' ({said(error)})"
            ) from None
        except (ConnectionError, DatasetNotFoundError, LookupError, OSError) as error:
            raise UsageError(
                f"the data of {', '.join(tasks)} cannot be had here ({said(error)}): fetch them where there is a "
                "network, or ask for tasks that make their own, such as niah_single_1"
            ) from None
    return {
        task: {metric: value for metric, value in of.items() if value != NOT_THIS_LENGTH}
        for task, of in found.items()
    }
