"""A model's card: the hub reads its head, a person its verdicts, and nothing of the data is taken for markup."""

import yaml
from huggingface_hub import ModelCard

from harness.reports.card import exported
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_sweep


def cards(folder, **config):
    records = write_sweep(folder, **config)
    found = judge("toy", PAPER, records)
    return exported("toy", PAPER, found, records), found


def test_the_hub_reads_every_number(tmp_path):
    found, (card,) = cards(tmp_path)
    assert set(found) == {"toy-toy/README.md", "toy-plain/README.md", "toy-chance/README.md"}
    head = ModelCard(found["toy-toy/README.md"]).data
    own = next(method for method in card["methods"] if method["method"] == "toy")
    assert {one.metric_type: one.metric_value for one in head.eval_results} == {
        metric: summary["mean"] for metric, summary in own["metrics"].items()
    }
    assert {one.dataset_name for one in head.eval_results} == {"builtin:python"}
    assert head.model_name == "toy-toy"
    assert head.tags == ["paper-harness", "toy"]


def test_it_says_the_verdicts_of_its_own_claims_alone(tmp_path):
    found, (card,) = cards(tmp_path)
    text = found["toy-chance/README.md"]
    own = [claim for claim in card["claims"] if "chance" in (claim["method"], claim["than"])]
    assert own
    for claim in card["claims"]:
        assert (claim["text"] in text) == (claim in own)
    assert "**" not in text.split("### Verdicts")[0].split("---\n", 2)[2]
    assert "holds at small scale" in found["toy-toy/README.md"]
    assert "0.123456" not in "".join(found.values())  # known from memory


def test_runs_on_two_data_sets_are_two_parts_of_one_card(tmp_path):
    one = write_sweep(tmp_path / "a", seeds=3)
    other = write_sweep(tmp_path / "b", seeds=3, data={"corpus": "b.txt"}, task_digest="b" * 64)
    records = [*one, *other]
    text = exported("toy", PAPER, judge("toy", PAPER, records), records)["toy-toy/README.md"]
    assert text.count("### Verdicts") == 2
    assert {one.dataset_name for one in ModelCard(text).data.eval_results} == {"builtin:python", "b.txt"}


def test_what_came_from_data_is_neither_markup_nor_yaml(tmp_path):
    odd = "x\n---\nlicense: mit\n<script>|[a](b)"
    found, _ = cards(tmp_path, seeds=1, data={"corpus": odd})
    text = found["toy-toy/README.md"]
    head = yaml.safe_load(text.split("---\n", 2)[1])
    assert set(head) == {"tags", "model-index"}
    body = "\n".join(line for line in ModelCard(text).text.splitlines() if not line.startswith("    "))
    assert "<script>" not in body
    assert "[a](b)" not in body
