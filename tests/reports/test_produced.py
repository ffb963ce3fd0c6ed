"""Texts and spreads that an evaluation kept: on the page to look at, in the store, and never in the way."""

from types import SimpleNamespace

import pytest

from harness.reports.figures import distributions
from harness.reports.html import samples, to_html
from harness.runs.mirror import Mirror, fetch
from harness.runs.produced import PRODUCED, read_produced, write_produced
from harness.runs.results import find_runs, local_store
from harness.runs.run import measure
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_run
from tests.runs.test_each import run_in

LONG = "x" * 2500


@pytest.fixture
def results(tmp_path):
    for seed in range(2):
        for name, start in (("toy", 0), ("plain", 10)):
            record = write_run(tmp_path, name, seed, {"accuracy": 0.5})
            texts = [f"<b>{name} {seed}</b> \x1b[31mred", LONG, *map(str, range(6))]
            told = [{"item": f"q{i}", "asked": f"{i} & more", "text": text} for i, text in enumerate(texts)]
            write_produced(record.folder, told, {"words": [start + i / 2 for i in range(20)]})
    return tmp_path


@pytest.fixture
def read(results):
    records = list(find_runs(results))
    (card,) = judge("toy", PAPER, records)
    return card, records


def test_the_page_shows_five_samples_of_each_methods_first_run_escaped_and_cut(read):
    card, records = read
    found = dict(samples(card, records))
    assert [len(some) for some in found.values()] == [5, 5]
    assert found["toy"][1]["text"] == "x" * 2000 + " … (2,500 characters)"
    page = to_html([card], records)
    assert "&lt;b&gt;toy 0&lt;/b&gt;" in page
    assert "<b>toy" not in page
    assert "toy 1" not in page
    assert "0 &amp; more" in page


def test_a_distribution_is_drawn_in_the_same_bins_for_each_method_over_all_seeds(read):
    card, records = read
    ((figure, lines),) = distributions(card, records)
    assert figure.x == "words"
    assert {line.label for line in lines} == {"toy", "plain"}
    assert len({tuple(line.x) for line in lines}) == 1
    assert all(sum(line.y) == pytest.approx(1) for line in lines)
    toy = next(line for line in lines if line.label == "toy")
    assert all(share == 0 for x, share in zip(toy.x, toy.y, strict=True) if x > 10)


def test_runs_that_kept_nothing_change_no_page(tmp_path):
    record = write_run(tmp_path, "toy", 0, {"accuracy": 0.5})
    (card,) = judge("toy", PAPER, [record])
    page = to_html([card], [record])
    assert "<h3>Samples" not in page
    assert "<h3>Distributions" not in page
    assert not (record.folder / PRODUCED).exists()


@pytest.mark.parametrize("text", ["", "[]", '{"samples": [1], "distributions": {}}', "{"])
def test_a_damaged_file_is_told_and_left_out(results, text, capsys):
    folder = next(iter(find_runs(results))).folder
    (folder / PRODUCED).write_text(text)
    assert read_produced(folder) == {"samples": [], "distributions": {}}
    assert "left out" in capsys.readouterr().err


def test_only_what_the_last_evaluation_kept_is_kept(tmp_path):
    def evaluate(run, split):
        run.sample(f"of {split}", asked="what?")
        run.distribution(split, [1, float("inf")])
        return {}

    run = run_in(tmp_path)
    plugin = SimpleNamespace(paper=PAPER, hook=lambda name: evaluate)
    for split in ("validation", "test"):
        measure(plugin, run, split)
    assert run.samples == [{"item": "0", "asked": "what?", "text": "of test"}]
    assert run.distributions == {"test": [1.0]}


def test_the_store_gives_them_back(results, tmp_path):
    first = next(iter(find_runs(results)))
    Mirror(local_store(tmp_path)).copy(first.folder)
    (fetched,) = fetch(local_store(tmp_path), tmp_path / "fetched")
    assert read_produced(fetched.folder) == read_produced(first.folder)
    assert read_produced(first.folder)["samples"][0]["text"].startswith("<b>")
