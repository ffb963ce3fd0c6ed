"""Let the sampler answer at each temperature, and count what is right."""

from collections.abc import Mapping

from transformers import AutoTokenizer

from harness import Items, Run
from harness.data.jsonl import read_jsonl
from harness.nn.bases import load_model
from harness_min_p.sampling import min_p
from harness_min_p.settings import TEMPERATURES, Sampler, Task


def evaluate(run: Run[Task, Sampler], split: str) -> Mapping[str, Items]:
    """Return the accuracy at each temperature; an item is a calculation."""
    folder, method = run.base(), run.method
    model, tokenizer = load_model(folder, run.device), AutoTokenizer.from_pretrained(folder)
    rows = read_jsonl(run.data_dir / "test.jsonl")
    asked = [row["prompt"] for row in rows]

    def right(temperature: float) -> Items:
        written = run.generate(
            model,
            tokenizer(asked)["input_ids"],
            max_new_tokens=5,  # an answer of up to four characters and the line's end
            temperature=temperature,
            top_p=method.top_p,
            process=lambda ids, scores: min_p(scores, method.min_p),
        )
        answers = [text.partition("\n")[0].strip() for text in tokenizer.batch_decode(written)]
        hits = [float(answer == row["answer"]) for answer, row in zip(answers, rows, strict=True)]
        return Items({"right": hits}, [text.rpartition("\n")[2] for text in asked], inputs=asked)

    at = {0.0: right(0.0)} if method.greedy else {t: right(t) for t in TEMPERATURES}
    return {f"accuracy@{t}": at[0.0 if method.greedy else t] for t in TEMPERATURES}
