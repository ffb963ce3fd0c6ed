"""P-SBERT: an encoder trained on NLI, then on STS, as Sentence-BERT was; the other methods train nothing.

NLI is classified from [u; v; |u - v|], STS regressed by the cosine; both losses are sentence-transformers', the
loop is the harness's, so a killed training goes on. On any Korean encoder (`model=`); or on a small one built here
with a vocabulary of its own, which shows what NLI and STS alone teach where no Korean weights can be had.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.data.batches import Shuffled
from harness.errors import UsageError
from harness_rdass.preparation import LABELS, UNTRAINED, read

ENCODER = "encoder"  # in run.output_dir
SIDES = ("sentence1", "sentence2")


def train(run: Any) -> None:
    """Leave the trained encoder in `run.output_dir`; nothing for a method that trains none."""
    if not run.method.trained:
        return
    tables = {name: read(run.data_dir / f"{name}.jsonl") for name in ("nli", "sts_train")}
    for name, rows in tables.items():
        if not rows:
            raise UsageError(f"p_sbert is trained on data.{name}=, which is not given: name a table of pairs")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    from harness.fit import seed_everything

    seed_everything(run.seed)
    inner = Transformer(str(start(run, tables)), max_seq_length=run.task.max_length or None)
    model = SentenceTransformer(modules=[inner, Pooling(inner.get_embedding_dimension(), "mean")])
    for name, rows in tables.items():
        fit_table(run, model, name, rows)
    model.save(str(run.output_dir / ENCODER), create_model_card=False)


def start(run: Any, tables: dict[str, list[dict[str, Any]]]) -> Path:
    """Return the folder of the encoder that training starts from."""
    if run.method.scratch:
        texts = [row[side] for rows in tables.values() for row in rows for side in SIDES]
        size = {"width": run.method.width, "layers": run.method.layers}
        made: Path = run.stage(
            "start", {"data": run.data_dir.name, **size}, lambda to: build(to, texts, **size)
        )
        return made
    if run.model is not None:
        return run.model.path if run.model.path.is_dir() else run.model.path.parent
    if run.task.sample:
        return run.data_dir / UNTRAINED
    raise UsageError("p_sbert trains the encoder that model= names, and it names none: give a Korean one")


def fit_table(run: Any, model: Any, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Train `model` on one table, a fit of its own with the loss that suits it and its own warm-up."""
    import torch
    from sentence_transformers.losses import CosineSimilarityLoss, SoftmaxLoss

    if name == "nli":
        loss = SoftmaxLoss(model, model.get_embedding_dimension(), num_labels=len(LABELS))
        targets = torch.tensor([LABELS.index(row["gold_label"]) for row in rows])
        epochs = run.method.nli_epochs
    else:
        loss = CosineSimilarityLoss(model)
        targets = torch.tensor([row["score"] / 5 for row in rows])  # STS: 0 to 5
        epochs = run.method.sts_epochs
    size = min(run.method.train_batch, len(rows))
    steps = max(1, round(epochs * len(rows) / size))

    def made(places: list[int]) -> dict[str, Any]:
        """Return the tokens of both sides of some rows, read before the step: a GPU need not be waited for."""
        batch = {"rows": torch.tensor(places), "targets": targets[places]}
        for side in SIDES:
            found = model.preprocess([rows[i][side] for i in places])
            tensors = {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}
            batch |= {f"{side}/{name}": tensor for name, tensor in tensors.items()}
            words[side] = {name: value for name, value in found.items() if name not in tensors}
        return batch

    def step(trained: Any, batch: dict[str, Any]) -> Any:
        sides = [
            {
                name.removeprefix(f"{side}/"): value
                for name, value in batch.items()
                if name.startswith(f"{side}/")
            }
            for side in SIDES
        ]
        return trained(
            [words[side] | found for side, found in zip(SIDES, sides, strict=True)], batch["targets"]
        )

    words: dict[str, dict[str, Any]] = {}  # what the library says of a side that is no tensor
    run.fit(
        loss,
        Shuffled(range(len(rows)), size, run.seed, made, whole=True),
        step,
        name=name,
        steps=steps,
        learning_rate=run.method.learning_rate,
        schedule="linear",
        warmup=max(1, steps // 10),
    )


def build(folder: Path, texts: Sequence[str], width: int, layers: int, vocabulary: int = 8000) -> None:
    """Save an untrained BERT with a vocabulary of `texts` in `folder`: the same each time."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"}
    # BPE over whole words, not WordPiece: that one's trainer numbers its pieces in an order of chance.
    trained = Tokenizer(models.BPE(unk_token=names["unk"]))
    trained.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(names.values()), show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    ids = {token: i for i, token in enumerate(names.values())}  # special tokens come first
    trained.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained,
        model_max_length=128,
        **{f"{name}_token": token for name, token in names.items()},
    )
    heads = max(1, width // 32)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the start is the same for every seed: seeds differ in batches and dropout
        model = BertModel(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=4 * width,
                max_position_embeddings=128,
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
