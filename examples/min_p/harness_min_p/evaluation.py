"""Let the sampler answer at each temperature, and count what is right."""

from collections.abc import Mapping

import numpy as np
from transformers import AutoTokenizer

from harness import Items, Run
from harness.data.jsonl import read_jsonl
from harness.nn.bases import load_model
from harness_min_p.sampling import min_p
from harness_min_p.settings import Sampler, Task


def evaluate(run: Run[Task, Sampler], split: str) -> Mapping[str, Mapping[float, Items]]:
    """Return the accuracy at each temperature; an item is a calculation, with its draws."""
    folder, method = run.base(), run.method
    model, tokenizer = load_model(folder, run.device), AutoTokenizer.from_pretrained(folder)
    rows = read_jsonl(run.data_dir / "test.jsonl")
    asked = [row["prompt"] for row in rows]
    ids = [text.rpartition("\n")[2] for text in asked]
    draws = 1 if method.greedy else run.task.draws

    def right(temperature: float) -> Items:
        written = run.generate(
            model,
            [ids for ids in tokenizer(asked)["input_ids"] for _ in range(draws)],
            max_new_tokens=5,  # an answer of up to four characters and the line's end
            temperature=temperature,
            top_p=method.top_p,
            process=lambda ids, scores: min_p(scores, method.min_p),
        )
        answers = [text.partition("\n")[0].strip() for text in tokenizer.batch_decode(written)]
        run.sample(answers[0], asked[0], f"at {temperature}")
        hits = np.array(answers) == np.repeat([row["answer"] for row in rows], draws)
        return Items({"right": hits.reshape(-1, draws)}, ids, inputs=asked)

    if method.greedy:
        return {"accuracy": dict.fromkeys(run.task.temperatures, right(0.0))}
    return {"accuracy": {t: right(t) for t in run.task.temperatures}}
