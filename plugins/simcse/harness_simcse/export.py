"""A finished run as a folder that `SentenceTransformer(folder)` loads, with the vectors that were judged.

The folder has a model card, so that mteb and the hub know what it is: its base, how it was made, what it measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data.sources import resolve_model
from harness.errors import UsageError
from harness.tools import finished, rebuild
from harness_simcse.patient import patient, restore
from harness_simcse.settings import SimCSE, Task


def export(folder: Path, to: Path, weights: str = "best", trust_remote_code: bool = False) -> Path:
    """Write the encoder of the run in `folder` to the new folder `to`; return `to`.

    `weights` is "best" (the last ones where none were chosen) or "last". Raises UsageError for a run that is
    not there, or that kept no weights.
    """
    run = finished(folder, "simcse")
    if to.exists() and any(to.iterdir()):
        raise UsageError(f"{to} is not empty: name a new folder")
    output = folder / "output"
    path = output / f"{weights}.safetensors"
    path = path if path.exists() else output / "last.safetensors"
    if not path.exists():
        raise UsageError(f"{folder} kept no weights: run it again with keep=weights rerun=true")
    if not run.config["model"]:
        raise UsageError(f"{folder} is of a random model made for tests: export a run with a model=")
    results = folder.parents[3]
    model = resolve_model(run.config["model"], cache=results / "stages" / "sources")
    method, task = rebuild(SimCSE, run.config["method"]), rebuild(Task, run.config["task"])
    encoder = patient(method, task, model.path, trust_remote_code)
    restore(encoder, path)
    encoder.save(to)
    (to / "README.md").write_text(card(run, model, to.name, path.stem, encoder), encoding="utf-8")
    return to


def card(run: Any, model: Any, name: str, weights: str, encoder: Any) -> str:
    """Return the model card of an exported run: metadata that the hub and mteb read, and how it was made."""
    from huggingface_hub import EvalResult, ModelCardData

    config, data = run.config, run.config["data"]
    measured = run.metrics.get(f"test@{weights}")
    sts = Path(str(data.get("sts", "")).partition("?")[0]).name or "made pairs"
    results = [
        EvalResult(
            task_type="semantic-similarity",
            task_name="Semantic Similarity",
            dataset_type="custom",
            dataset_name=sts,
            metric_type="spearman_cosine",
            metric_value=measured,
        )
    ]
    about = ModelCardData(
        model_name=name,
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "sentence-similarity", "feature-extraction", "simcse"],
        base_model=model.name.removeprefix("hub:").partition("@")[0] if model.kind == "hub" else None,
        eval_results=None if measured is None else results,
        ignore_metadata_errors=True,
    )
    settings = {
        **{f"task.{key}": value for key, value in config["task"].items()},
        **{f"data.{key}": value for key, value in data.items() if value},
    }
    rows = "\n".join(f"| {key} | `{value}` |" for key, value in settings.items())
    length = encoder.max_length or "any number of"
    scored = (
        "" if measured is None else f", {measured:.4f} on {sts} (Spearman of cosines with people's scores)"
    )
    return f"""---
{about.to_yaml()}
---

# {name}

Sentence vectors: {config["model"]}, made by SimCSE (`{config["name"]}`, seed {config["seed"]}),
{weights} weights{scored}.
It reads {length} tokens.

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("{name}").encode(["a sentence", "another"])
```

| setting | value |
| --- | --- |
{rows}
"""
