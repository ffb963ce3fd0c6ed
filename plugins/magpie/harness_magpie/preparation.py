"""Read the seed tasks and the unseen questions once; without `model=` make a tiny chat model of random weights.

The tiny model and the made-up seeds let every path run in a second without any data. They are never evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.jsonl import read_json
from harness.engines import checked
from harness.errors import UsageError
from harness.tools import write_json
from harness_magpie.settings import Task

LONG = 500  # characters of a task
ASIDE = 23  # draws the tasks that no method sees: the same ones for every seed
OPENINGS = ("tell", "write", "why", "how", "name", "explain", "what", "give")
MIDDLES = ("me", "a", "is", "the", "of", "three", "do", "your")
THINGS = "poem rain birds colours sum tale sea names bread stars rivers songs"
CLOSINGS = tuple(f"{word}{sign}" for word in THINGS.split() for sign in ".?")
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|system|> be kind <|end|> {% endif %}{% for message in messages %}"
    "<|{{ message['role'] }}|> {{ message['content'] }} <|end|> {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)


def fits(task: Task, data: Mapping[str, Any], model: Any) -> None:
    """Refuse an engine that cannot be."""
    checked(task.engine, model)


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `seeds.json`, `people.json`, `questions.json`, perhaps `model/` and `student.json` in `data_dir`."""
    seeds = seed_tasks(data["seeds"].rows()) if "seeds" in data else made_seeds(task.made_seeds)
    if not seeds and "seeds" in data:
        raise UsageError(f"{data['seeds'].name} has no row with a text in instruction: give seed tasks")
    questions = asked(data["questions"].rows()) if "questions" in data else []
    questions = questions or [seed["instruction"] for seed in made_seeds(task.made_seeds)]
    seen, kept = set_aside(seeds, task.people)
    write_json(data_dir / "seeds.json", seen)
    write_json(data_dir / "people.json", kept)
    write_json(data_dir / "questions.json", questions[: task.questions])
    if model is None:
        tiny_chat_model(data_dir / "model")
    if task.student:
        from harness.data.sources import resolve_model

        found = resolve_model(task.student, cache=data_dir.parent / "sources")
        write_json(
            data_dir / "student.json", {"path": str(found.path), "name": found.name, "digest": found.digest}
        )


def seed_tasks(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return each task's `instruction` (with its input, if it has one) and `output`; "" where it has none."""
    found = []
    for row in rows:
        if not isinstance(row.get("instruction"), str) or not row["instruction"].strip():
            continue
        instances = row.get("instances") or [row]
        given, output = (str(instances[0].get(name) or "").strip() for name in ("input", "output"))
        whole = row["instruction"].strip() + (f"\n{given}" if given else "")
        found.append({"instruction": row["instruction"].strip(), "question": whole, "output": output})
    return found


def answerable(seed: Mapping[str, str]) -> bool:
    """Return whether people answered a task, and asked it in about as much as a sampled instruction may have."""
    return bool(seed["output"]) and len(seed["question"]) < LONG


def set_aside(seeds: list[dict[str, str]], number: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the tasks that methods see and those that students are judged by: a quarter of the answerable at most."""
    places = [i for i, seed in enumerate(seeds) if answerable(seed)]
    drawn = np.random.default_rng(ASIDE).permutation(places)[: min(number, len(places) // 4)]
    aside = set(drawn.tolist())
    return [s for i, s in enumerate(seeds) if i not in aside], [seeds[i] for i in sorted(aside)]


def asked(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the questions of rows with `instruction` (AlpacaEval), or the first of their `turns` (MT-Bench)."""
    found = []
    for row in rows:
        text = (row.get("turns") or [None])[0] or row.get("instruction") or row.get("text")
        if not isinstance(text, str):
            raise UsageError(
                f"a row of data.questions has {', '.join(row)}: it needs instruction, turns or text"
            )
        found.append(text)
    return found


def made_seeds(number: int) -> list[dict[str, str]]:
    """Return short made-up tasks in the tiny model's words."""
    draw = np.random.default_rng(0)

    def sentence() -> str:
        middle = " ".join(str(w) for w in draw.choice(MIDDLES, 3))
        return f"{draw.choice(OPENINGS)} {middle} {draw.choice(CLOSINGS)}"

    made = [{"instruction": sentence(), "output": sentence()} for _ in range(number)]
    return [{**seed, "question": seed["instruction"]} for seed in made]


def tiny_chat_model(folder: Path) -> None:
    """Write a random Llama of three narrow layers whose chats have a default system message."""
    from transformers import LlamaForCausalLM

    from harness.fit import seed_everything

    tokenizer = tiny_tokenizer()
    seed_everything(2)  # a draw that writes sentences and does not always end at once
    LlamaForCausalLM(tiny_config(len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tiny_config(vocabulary: int) -> Any:
    """Return the tiny model's size."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )


def tiny_tokenizer() -> Any:
    """Return a tokenizer of a few whole words, which writes blanks between them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|unknown|>"]
    names = [*special, "be", "kind", "series", "tasks:", *OPENINGS, *MIDDLES, *CLOSINGS]
    inner = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<|unknown|>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        unk_token="<|unknown|>",
        additional_special_tokens=special[2:5],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def read(data_dir: Path, name: str) -> Any:
    """Return what `prepare` wrote as `<name>.json`."""
    return read_json(data_dir / f"{name}.json")
