"""The model that is adapted: any that `model=` names, or a small one trained here on general text.

Both are folders of transformers. The small one is a stage: made once, and shared by all methods and
seeds, so that intervals are conditional on it. Weights in GGUF are unpacked to float32, also once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.batches import Batches
from harness.errors import UsageError
from harness.fit import fit, seed_everything
from harness.nn.decoder import Decoder
from harness_lora.preparation import Form, form_of
from harness_lora.settings import Task

BASE_SEED = 0


def small(task: Task, vocabulary: int) -> Decoder:
    """Return the untrained small base: rotary positions, and an output layer of its own."""
    return Decoder.of(
        task, vocabulary, "base_", length=task.length, position="rotary", tie_word_embeddings=False
    )


def base_folder(run: Any) -> Path:
    """Return the folder of this run's base, making it if nobody has yet."""
    inputs: dict[str, Any] = {}
    if run.model is None:
        task = run.task
        names = ("length", "batch_size", *(name for name in vars(task) if name.startswith("base_")))
        inputs = {
            "settings": {name: getattr(task, name) for name in names},
            "text": run.data["general"].digest,
            "tokens": form_of(run.data_dir).digest,
            "precision": run.precision,
        }
    folder: Path = run.base(lambda folder: train_small(run, folder), inputs)
    return folder


def train_small(run: Any, folder: Path) -> None:
    """Train the small base on the general text and save it in `folder`."""
    from transformers import AutoTokenizer

    from harness.nn.losses import next_token_loss

    task = run.task
    refuse_labels_without_a_model(form_of(run.data_dir).kind)
    tokenizer = AutoTokenizer.from_pretrained(run.data_dir / "tokenizer")
    tokens = np.load(run.data_dir / "general-train.npy", mmap_mode="r")
    seed_everything(BASE_SEED)
    model = small(task, len(tokenizer))
    fit(
        model,
        Batches(tokens, length=task.length, batch_size=task.batch_size, seed=BASE_SEED),
        next_token_loss,
        steps=task.base_steps,
        learning_rate=task.base_learning_rate,
        weight_decay=0.01,
        warmup=min(50, task.base_steps // 4),
        device=run.device,
        precision=run.precision,
        progress=lambda done, total, **more: run.progress(done, total, note="the shared base", **more),
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def refuse_labels_without_a_model(kind: str) -> None:
    """Raise UsageError for data with labels where no model is given: the small base is no classifier."""
    if kind == "labels":
        raise UsageError("text with labels needs a pretrained model: add model=<hub id or folder>")


def refuse_quantised(config: Any, name: object) -> None:
    """Raise UsageError for a config of quantised weights."""
    if method := (getattr(config, "quantization_config", None) or {}):
        word = method.get("quant_method", "") if isinstance(method, dict) else type(method).__name__
        raise UsageError(
            f"{name} is quantised ({word}), and LoRA needs weights as numbers: give the base it was made from"
        )


def load_base(
    folder: str | Path,
    form: Form | None = None,
    revision: str | None = None,
    kind: str = "",
    **settings: Any,
) -> Any:
    """Load a base in float32, as the class of transformers called `kind`, with `settings` for its config.

    Data with labels make it a classifier that knows their names; else it is what its config says that it was saved
    as, or a causal language model. `base_dtype` is then the type that it is kept in.
    """
    import torch
    import transformers

    options: dict[str, Any] = {"revision": revision} if revision else {}
    config = transformers.AutoConfig.from_pretrained(folder, **options)
    refuse_quantised(config, folder)
    if form is not None and form.kind == "labels":
        names = dict(enumerate(form.labels))
        kind = TASKS["SEQ_CLS"]
        settings = {"id2label": names, "label2id": {text: n for n, text in names.items()}, **settings}
    kind = kind or (_saved_as(config) if form is None else TASKS["CAUSAL_LM"])
    auto = getattr(transformers, kind)
    if settings:
        options["ignore_mismatched_sizes"] = True  # a head for other labels is replaced
    model = auto.from_pretrained(folder, dtype=torch.float32, **options, **settings)
    if form is not None and form.kind == "labels" and model.config.pad_token_id is None:
        model.config.pad_token_id = 0
    model.base_dtype = dtype_of(config, Path(folder))
    return model.eval()


TASKS = {  # PEFT's words, and how transformers loads such a model
    "CAUSAL_LM": "AutoModelForCausalLM", "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "SEQ_CLS": "AutoModelForSequenceClassification", "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering", "FEATURE_EXTRACTION": "AutoModel",
}  # fmt: skip


def kind_of(folder: str | Path, said: Mapping[str, Any], revision: str | None = None) -> str:
    """Return the class that an adapter's base is loaded as: by the adapter's task, its own word, or the base's."""
    import transformers

    named = (said.get("auto_mapping") or {}).get("base_model_class")
    if said.get("task_type") in TASKS:
        return TASKS[said["task_type"]]
    if named and hasattr(transformers, named):
        return str(named)
    options: dict[str, Any] = {"revision": revision} if revision else {}
    return _saved_as(transformers.AutoConfig.from_pretrained(folder, **options))


def _saved_as(config: Any) -> str:
    """Return the class that a model was saved as, or that of causal language models where transformers has none."""
    import transformers

    saved = (config.architectures or [""])[0]
    return saved if saved and hasattr(transformers, saved) else TASKS["CAUSAL_LM"]


def dtype_of(config: Any, folder: Path) -> str:
    """Return the type that a base's weights are kept in: as its config says, else as its first matrix has it."""
    from safetensors import safe_open

    if config.dtype is not None:
        return str(config.dtype).removeprefix("torch.")
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                return DTYPES.get(file.get_slice(name).get_dtype(), "float32")
    return "float32"


DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "BF16": "bfloat16",
    "F16": "float16",
}  # as safetensors calls them


def run_base(run: Any) -> Any:
    """Load this run's base, called in adapters as others would call it."""
    model = load_base(base_folder(run), form_of(run.data_dir))
    if run.model is not None and run.model.kind == "hub":
        model.config._name_or_path = run.model.name.removeprefix("hub:").partition("@")[0]
        model.config._commit_hash = run.model.revision
    return model
