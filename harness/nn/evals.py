"""Judge a causal language model: perplexity in two protocols, memory at a distance, lm-eval's tasks.

`nll` scores exactly the same target tokens at every window length, so lengths can be compared token by
token. Flat perplexity is not long memory: `retrieval` measures what a model gains from having seen a
passage some distance ago. All return per-item numbers, so that intervals can be made from them.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import UsageError, nearest
from harness.nn.generate import inference
from harness.papers.statement import Items

BATCH = 4096  # tokens a batch: as fast as more on a CPU, and large vocabularies still fit
CausalLM = Callable[[Tensor], Any]  # ids (rows, length) -> something with logits (rows, length, vocabulary)
Losses = Callable[[CausalLM, Tensor, Tensor, str | torch.device], Tensor]  # `token_nll`, or another like it


def nll(
    model: CausalLM,
    tokens: Sequence[int] | np.ndarray,
    length: int,
    *,
    targets: int,
    stride: int | None = None,
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    losses: Losses | None = None,
) -> np.ndarray:
    """Return the negative log-likelihood in nats of tokens 1 .. `targets`, (targets,) float32.

    A window of `length` tokens moves by `stride` and its last `stride` predictions are scored (all of the
    first window's). Without a stride the windows do not overlap: each token is scored once, with whatever
    context its own window gives it. A batch is `batch_size` windows, or about 4,096 tokens. `losses` scores a
    batch (`token_nll`). Raises `UsageError` where there are too few tokens.
    """
    losses = token_nll if losses is None else losses
    stride = length if stride is None else stride
    if not 0 < stride <= length:
        raise UsageError(f"stride={stride} leaves tokens unscored: use 1 to {length}, the window's length.")
    if len(tokens) <= targets:
        raise UsageError(
            f"Scoring {targets} tokens needs a text of {targets + 1} and this one has {len(tokens)}: "
            "score fewer or give a longer text."
        )
    text = torch.as_tensor(np.asarray(tokens[: targets + 1], dtype=np.int64))
    windows = 1 + max(0, math.ceil((targets - length) / stride))
    # What fills up the last window lies after every scored token, where none of them can look.
    missing = (windows - 1) * stride + length - targets
    inputs = torch.nn.functional.pad(text[:-1], (0, missing)).unfold(0, length, stride)  # (windows, length)
    answers = torch.nn.functional.pad(text[1:], (0, missing)).unfold(0, length, stride)
    batch_size = batch_size or max(1, BATCH // length)
    scores = []
    with inference(model):
        for start in range(0, windows, batch_size):
            rows = slice(start, start + batch_size)
            scored = torch.arange(length).expand(len(inputs[rows]), -1) >= length - stride
            if start == 0:
                scored = scored | (torch.arange(len(scored)) == 0)[:, None]
            scores.append(losses(model, inputs[rows], answers[rows], device)[scored])
    return torch.cat(scores)[:targets].numpy()


def token_nll(model: CausalLM, inputs: Tensor, answers: Tensor, device: str | torch.device) -> Tensor:
    """Return the loss of each answer, (rows, length) float32 on the CPU."""
    logits = model(inputs.to(device)).logits.float().flatten(0, 1)
    losses = torch.nn.functional.cross_entropy(logits, answers.to(device).flatten(), reduction="none")
    return losses.view(answers.shape).cpu()


def by_position(losses: np.ndarray, length: int, edges: Sequence[int]) -> dict[tuple[int, int], np.ndarray]:
    """Return the mean of non-overlapping `losses` between each two `edges` of position, (windows,) each.

    Position 0 is the prediction with one token of context. `edges` rise from 0; those beyond `length`, and
    an incomplete last window, are left out.
    """
    windows = losses[: len(losses) // length * length].reshape(-1, length)
    pairs = [(low, high) for low, high in itertools.pairwise(edges) if low < high <= length]
    return {(low, high): windows[:, low:high].mean(axis=1) for low, high in pairs if len(windows)}


def retrieval(
    model: CausalLM,
    tokens: Sequence[int] | np.ndarray,
    distances: Sequence[int],
    *,
    items: int = 200,
    key: int = 4,
    value: int = 12,
    seed: int = 0,
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
) -> dict[int, dict[str, np.ndarray]]:
    """Ask, some tokens after a random key and value were shown, for the value again.

    An item is key + value, then real text, then the same key + value, `distance` tokens after the first.
    Key and value are drawn from the token frequencies of `tokens`, so nothing but the first showing tells
    the second value. The control shows another item's key and value first; all else is equal. Returns for
    each distance, per item, (items,): `gain`, the nats per value token saved by the showing (0 = no memory),
    `accuracy`, the share of value tokens ranked first, and `end`, where the text between ends. A model too
    small to copy still gains a little from near showings, so the decay with distance can be read long before
    accuracy leaves the floor.
    Items are the same for every model, and at every distance end on the same text. Raises `UsageError`.
    """
    span = key + value
    if min(distances) < span:
        raise UsageError(
            f"A distance of {min(distances)} tokens is within the {span} of a key and value: ask for a longer one."
        )
    if items < 2 or len(tokens) // 2 < max(distances):
        raise UsageError(
            f"The retrieval probe needs two items and a text of {2 * max(distances)} tokens, not {items} "
            f"and {len(tokens)}: give a longer text or shorter distances."
        )
    text = np.asarray(tokens)
    draw = np.random.default_rng(seed)
    pairs = text[draw.integers(len(text), size=(items, span))]
    ends = draw.integers(len(text) // 2, len(text) + 1, size=items)
    found = {}
    for distance in distances:
        between = np.stack([text[end - (distance - span) : end] for end in ends])
        shown, control = (
            _recall(model, np.concatenate([first, between, pairs], axis=1), value, batch_size, device)
            for first in (pairs, np.roll(pairs, 1, axis=0))
        )
        found[distance] = {"gain": control[0] - shown[0], "accuracy": shown[1], "end": ends}
    return found


def _recall(
    model: CausalLM, rows: np.ndarray, value: int, batch_size: int | None, device: str | torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Return loss and accuracy on the last `value` tokens of each row, each (rows,) float32."""
    batch_size = batch_size or max(1, BATCH // rows.shape[1])
    losses, ranked_first = [], []
    with inference(model):
        for part in torch.as_tensor(rows.astype(np.int64)).split(batch_size):
            logits = model(part[:, :-1].to(device)).logits[:, -value:].float()  # (rows, value, vocabulary)
            answers = part[:, -value:].to(device)
            loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), answers, reduction="none")
            losses.append(loss.mean(dim=1).cpu())
            ranked_first.append((logits.argmax(dim=-1) == answers).float().mean(dim=1).cpu())
    return torch.cat(losses).numpy(), torch.cat(ranked_first).numpy()


def lm_eval_scores(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[str | Mapping[str, Any]],
    *,
    limit: int | None = None,
    batch_size: int = 8,
    max_length: int | None = None,
    task_folder: str | Path | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, Items]]:
    """Run tasks of lm-eval; return `{task: {metric: value}}` and `{task: Items}` with each metric per document.

    A column is a metric where the metric is its mean. A perplexity is the exponential of minus the mean of
    the column `log_likelihood`; what no document has a value of (f1, mcc, bleu, word perplexity) has no
    column, and a warning names it. `truncated` is 1 for a document whose input was longer than the model
    reads, and lost its beginning.

    `model` is a transformers causal language model, where it already lies. A task is a name known to
    lm-eval, the name of a YAML file in `task_folder`, or a dict in lm-eval's own keys, whose
    `custom_dataset` is a callable that returns `{"test": Dataset}`. `max_length` is the longest input in
    tokens (None: what the model's config says). `metadata` is what tasks that make their own data read (RULER's lengths
    and tokenizer). Seeds the global generators, as lm-eval does. Raises `UsageError` for an unknown name.
    """
    from lm_eval import simple_evaluate

    _sandboxed()
    manager = _task_manager([task for task in tasks if isinstance(task, str)], task_folder, metadata)
    with inference(model):
        reader = _reader()(
            pretrained=model,
            tokenizer=tokenizer,
            backend="causal",
            batch_size=batch_size,
            max_length=max_length,
        )
        results = simple_evaluate(
            model=reader,
            tasks=list(tasks),
            task_manager=manager,
            limit=limit,
            bootstrap_iters=0,
        )
    scores = {
        task: {
            _metric(name): float(value)
            for name, value in found.items()
            if "," in name and "_stderr," not in name and isinstance(value, int | float)
        }
        for task, found in results["results"].items()
    }
    return scores, {
        task: _items(task, samples, scores.get(task, {}), reader.cut)
        for task, samples in results["samples"].items()
    }


def _reader() -> type:
    """Return lm-eval's reader of transformers' models, which also notes whose input it cuts on the left."""
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.utils import normalize_gen_kwargs

    class Reader(HFLM):
        def __init__(self, *words: Any, **options: Any) -> None:
            super().__init__(*words, **options)
            self.cut: set[tuple[str, int]] = set()  # (task, document)
            self.asked: Sequence[Any] = ()

        def loglikelihood(self, requests: Any, *words: Any, **options: Any) -> Any:
            self.asked = requests
            try:
                return super().loglikelihood(requests, *words, **options)
            finally:
                self.asked = ()

        def _loglikelihood_tokens(self, requests: Any, *words: Any, **options: Any) -> Any:
            # A rolling likelihood asks for no one: it reads a long text in windows, and cuts nothing.
            for asked, (_, context, continuation) in zip(self.asked, requests, strict=False):
                self._note(asked, len(context) + len(continuation) - 1, self.max_length)
            return super()._loglikelihood_tokens(requests, *words, **options)

        def generate_until(self, requests: Any, *words: Any, **options: Any) -> Any:
            for asked in requests:
                text, settings = asked.args
                room = self.max_length - normalize_gen_kwargs(settings, self.max_gen_toks)["max_gen_toks"]
                self._note(asked, len(self.tok_encode(text)), room)
            return super().generate_until(requests, *words, **options)

        def _note(self, asked: Any, tokens: int, room: int) -> None:
            if tokens > room:
                self.cut.add((asked.task_name, asked.doc_id))

    return Reader


def lm_eval_accuracy(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[str | Mapping[str, Any]],
    *,
    limit: int | None = None,
    max_length: int | None = None,
    task_folder: str | Path | None = None,
) -> Items:
    """Return whether the model is right on each document of lm-eval's `tasks`, pooled: 1 or 0 an item.

    The arguments are those of `lm_eval_scores`. Raises `UsageError` for a task without accuracy.
    """
    _, found = lm_eval_scores(
        model, tokenizer, tasks, limit=limit, max_length=max_length, task_folder=task_folder
    )
    right: list[float] = []
    ids: list[str] = []
    for name, items in found.items():
        if "acc" not in items.columns:
            others = ", ".join(column for column in items.columns if column != "truncated")
            raise UsageError(f"the lm-eval task {name} has no accuracy, only {others}: leave it out")
        right += list(items.columns["acc"])
        ids += [f"{name}-{document}" for document in items.ids]
    return Items({"acc": right}, ids)


def _task_manager(
    names: Sequence[str], folder: str | Path | None, metadata: Mapping[str, Any] | None = None
) -> Any:
    """Return lm-eval's task index: of the folder alone where that is enough, since all takes 10 s to read."""
    from lm_eval.tasks import TaskManager

    if folder:
        _plain(Path(folder))
    told = dict(metadata) if metadata else None
    manager = TaskManager(include_path=folder and str(folder), include_defaults=False, metadata=told)
    if set(names) <= set(manager.all_tasks):
        return manager
    manager = TaskManager(include_path=folder and str(folder), metadata=told)
    for name in names:
        if name not in manager.all_tasks:
            raise UsageError(f"lm-eval knows no task {name!r}: {nearest(name, manager.all_tasks)}")
    return manager


def _plain(folder: Path) -> None:
    """Refuse a folder of lm-eval tasks whose YAML names code (`!function`) or files elsewhere."""
    import yaml

    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml")):
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            said = " ".join(str(error).split()).partition(" in ")[0]
            raise UsageError(
                f"{path} is not plain YAML ({said}): write it without tags like !function, which name code, or "
                "give the task as a dict from a plugin"
            ) from None
        included = found.get("include", []) if isinstance(found, dict) else []
        for name in [included] if isinstance(included, str) else included:
            if Path(name).name != name:
                raise UsageError(f"{path} includes {name!r} from elsewhere: put that file beside it")


def _sandboxed() -> None:
    """Let the templates of lm-eval's tasks read their document and nothing of Python."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from lm_eval import utils

    if not isinstance(utils.env, ImmutableSandboxedEnvironment):
        kept = {"undefined": utils.env.undefined, "keep_trailing_newline": utils.env.keep_trailing_newline}
        filters, utils.env = utils.env.filters, ImmutableSandboxedEnvironment(**kept)
        utils.env.filters.update(filters)


def _metric(name: str) -> str:
    """Return lm-eval's "metric,filter" without the filter where there is none."""
    return name.removesuffix(",none")


def _items(
    task: str,
    samples: Sequence[Mapping[str, Any]],
    scores: Mapping[str, float],
    cut: set[tuple[str, int]],
) -> Items:
    """Turn lm-eval's samples, one a document and filter, into one column for each metric that is a mean of them."""
    rows: dict[str, dict[str, float]] = {}
    for sample in samples:
        row = rows.setdefault(f"{sample['doc_id']}-{sample['doc_hash'][:12]}", {})
        row["truncated"] = float((task, sample["doc_id"]) in cut)
        for metric in sample["metrics"]:
            if isinstance(sample[metric], int | float):
                row[_metric(f"{metric},{sample['filter']}")] = float(sample[metric])
    names = dict.fromkeys(name for row in rows.values() for name in row)
    found = {name: [row.get(name, math.nan) for row in rows.values()] for name in names}
    truncated = found.pop("truncated", [])
    columns: dict[str, list[float]] = {}
    for name, values in found.items():
        mean = float(np.mean(values))
        if name not in scores or _same(mean, scores[name]):
            columns[name] = values
        elif mean < 700 and _same(math.exp(min(-mean, 700)), scores[name]):
            columns[name.replace("perplexity", "log_likelihood")] = values
    without = [name for name in scores if name not in found or found[name] not in columns.values()]
    if without:
        warnings.warn(
            f"{task}: {', '.join(without)} stand for all documents together, and have no value a document",
            stacklevel=3,
        )
    if any(truncated):
        warnings.warn(
            f"{task}: {sum(truncated):.0f} of {len(truncated)} documents are longer than the model reads, and lost "
            "their beginning",
            stacklevel=3,
        )
    return Items({**columns, "truncated": truncated}, list(rows))


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))
