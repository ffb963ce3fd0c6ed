"""From run folders to verdicts that a person reads: scorecards, tables, and one page that opens offline."""

from __future__ import annotations

import html.parser
import io
import itertools
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from harness.numbers import number, plus_minus, span
from harness.papers.statement import Claim, Figure, Items, Metric, difference
from harness.reports import figures
from harness.reports.figures import draw
from harness.reports.html import to_html
from harness.reports.phrases import (
    answer,
    bound,
    effect,
    judged_on,
    power,
    said,
    setting,
    strength,
    tally,
    theirs,
    why,
)
from harness.reports.phrases import ours as ours_of
from harness.reports.publish import only_here, portable
from harness.reports.terminal import to_terminal
from harness.reports.text import to_json, to_markdown
from harness.runs.results import ITEMS, find_runs, read_items
from harness.verdicts.scorecard import judge
from tests.records import PAPER, answers, write_run, write_sweep

HOSTILE = "<script>alert(1)</script> [bold]x[/bold] ![p](http://x.y/z) | \x1b[31mred"


def made_by_other_code(record) -> bool:
    return record.result.code["digest"] != "now"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    write_sweep(results)
    return list(find_runs(results))


@pytest.fixture(scope="module")
def card(sweep):
    (found,) = judge("toy", PAPER, sweep, made_by_other_code)
    return found


def claims(*records, paper=PAPER):
    (card,) = judge("toy", paper, records)
    return card["claims"]


def shown(cards) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    to_terminal(cards, console)
    return console.file.getvalue()


# From runs to claims


def test_a_sweep_becomes_verdicts_with_their_intervals(card):
    flat, breaks, chance, counter = card["claims"]
    assert [c["verdict"] for c in card["claims"]] == ["holds", "holds", "holds", "open"]
    assert flat["low"] < flat["value"] < flat["high"] < 1.05
    assert (breaks["rule"], breaks["seeds"], breaks["items"]) == ("seeds", 5, 0)
    assert (chance["rule"], chance["seeds"], chance["items"]) == ("seeds+items", 5, 250)
    assert counter["counter"]
    assert counter["reason"] == "the interval includes 0"
    assert [c["holm"] for c in card["claims"]] == [True, True, True, False]


def test_a_scorecard_has_the_documented_shape(card):
    assert {"paper", "budget", "device", "precision", "date", "command", "data", "claims", "methods"} <= set(
        card
    )
    assert {
        "text",
        "source",
        "kind",
        "metric",
        "method",
        "than",
        "value",
        "low",
        "high",
        "seeds",
    } <= set(card["claims"][0])
    assert {"method", "baseline", "deterministic", "seeds", "run_keys", "metrics"} <= set(card["methods"][0])
    assert set(card["methods"][0]["metrics"]["accuracy"]) == {"mean", "low", "high", "values"}
    assert card["schema"] == 2
    assert json.loads(to_json([card])) == [card]


def test_methods_keep_the_papers_order_and_their_seeds(card):
    assert [(m["method"], m["seeds"], m["baseline"], m["deterministic"]) for m in card["methods"]] == [
        ("toy", [0, 1, 2, 3, 4], False, False),
        ("plain", [0, 1, 2, 3, 4], True, False),
        ("chance", [0], True, True),
    ]
    toy, _, chance = card["methods"]
    assert len(toy["run_keys"]) == len(toy["metrics"]["accuracy"]["values"]) == 5
    assert toy["timings"]["train"] == 12.0  # 10, 11, 12, 13, 14
    assert chance["metrics"]["accuracy"]["low"] is None


def test_other_method_settings_are_a_row_of_their_own_and_reach_no_claim(tmp_path):
    declared = [write_run(tmp_path, "toy", s, {"accuracy": 0.5 + s / 100}) for s in range(3)]
    changed = [
        write_run(tmp_path, "toy", s, {"accuracy": 0.9}, changes={"slope": 2.0, "steps": 9}) for s in range(3)
    ]
    (card,) = judge("toy", PAPER, [*changed, *declared])
    assert [m["method"] for m in card["methods"]] == ["toy", "toy (slope=2.0, steps=9)"]
    paper = replace(PAPER, claims=[Claim("c", difference("accuracy", "toy", "toy"), "s")])
    assert claims(*declared, *changed, paper=paper)[0]["value"] == 0


@pytest.mark.parametrize(
    "other",
    [{"budget": "full"}, {"task": {"length": 128}}, {"device": "cuda"}, {"precision": "bf16"}],
    ids=lambda other: next(iter(other)),
)
def test_runs_of_another_setting_are_never_compared(tmp_path, other):
    here = [write_run(tmp_path, "toy", s, {"accuracy": 0.9 + s / 100}) for s in range(3)]
    there = [write_run(tmp_path, "plain", s, {"accuracy": 0.1 + s / 50}, **other) for s in range(3)]
    cards = judge("toy", PAPER, [*here, *there])
    assert len(cards) == 2
    words = [[claim["verdict"] for claim in card["claims"]] for card in cards]
    assert words == [["not tested"] * 4] * 2


def test_runs_of_another_paper_are_left_alone(tmp_path):
    assert judge("toy", PAPER, [write_run(tmp_path, "toy", 0, {}, paper="other")]) == []


def test_methods_measured_on_other_items_leave_only_that_claim_open(tmp_path):
    records = write_sweep(tmp_path)
    other = Items({"right": [1.0, 0.0] * 125}, [f"z{i}" for i in range(250)])
    records[-1] = write_run(tmp_path, "chance", 0, {"accuracy": 0.5}, items={"accuracy": other})
    flat, _, chance, _ = claims(*records)
    assert flat["verdict"] == "holds"
    assert chance["verdict"] == "open"
    assert "accuracy of chance was measured on other items (250 against 250" in chance["reason"]


def test_failed_runs_are_listed_and_counted_nowhere(tmp_path):
    records = [write_run(tmp_path, "toy", s, {"accuracy": 0.8 + s / 100}) for s in range(4)]
    error = {"type": "oom", "message": "out of memory at step 7"}
    records += [write_run(tmp_path, "plain", s, {}, error=error) for s in range(3)]
    (card,) = judge("toy", PAPER, records)
    assert [m["method"] for m in card["methods"]] == ["toy"]
    assert card["claims"][3]["verdict"] == "not tested"
    assert card["claims"][3]["reason"] == "plain has no accuracy: all its runs failed (oom)"
    assert [(f["method"], f["seed"], f["type"]) for f in card["failures"]] == [
        ("plain", 0, "oom"),
        ("plain", 1, "oom"),
        ("plain", 2, "oom"),
    ]
    for text in (shown([card]), to_markdown([card]), to_html([card])):
        assert "out of memory at step 7" in text


def lines(cards, width=80, **asked) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    to_terminal(cards, console, **asked)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_claim_is_a_line_and_no_line_is_longer_than_eighty_columns(card):
    found = lines([card])
    assert max(map(len, found)) <= 80
    (first,) = [line for line in found if line.lstrip().startswith("1  ✓")]
    assert ours_of(card["claims"][0]) in first
    for place, claim in enumerate(card["claims"], 1):
        shown_on = [line for line in lines([card], width=200) if claim["text"] in line]
        assert len(shown_on) == 1, claim["text"]
        assert shown_on[0].split()[0] == str(place)
        assert bound(claim) in shown_on[0]


def test_reasons_are_told_where_they_are_asked_for(card):
    reason = why(card["claims"][3])[:40]
    assert reason not in " ".join(lines([card]))
    assert reason in " ".join(lines([card], verbose=True))
    alone = " ".join(lines([card], only=4))
    assert reason in alone
    assert card["claims"][3]["text"] in alone
    assert card["claims"][0]["text"] not in alone


def test_claims_without_runs_are_counted_not_listed(tmp_path):
    records = [write_run(tmp_path, "toy", s, {"accuracy": 0.8 + s / 100}) for s in range(3)]
    (card,) = judge("toy", PAPER, records)
    found = lines([card])
    without = [n for n, claim in enumerate(card["claims"], 1) if claim["verdict"] == "not tested"]
    assert without
    assert f"– not tested: 1–{len(without)}" in found
    assert not any(card["claims"][n - 1]["text"][:20] in line for n in without for line in found)
    assert any(card["claims"][0]["text"] in line for line in lines([card], verbose=True))


def test_marks_name_their_claims_by_number(card):
    holm = [n for n, claim in enumerate(card["claims"], 1) if claim["holm"]]
    assert holm == [1, 2, 3]
    assert "survives Holm: 1–3" in lines([card])


def test_the_page_begins_with_the_answer(card):
    text = Page(to_html([card])).text
    assert (
        text.index("Holds")
        < text.index("Not decided")
        < text.index("as the system")
        < text.index("Claim by claim")
    )
    assert answer(card)[0] == ("Holds", [(c["text"], "", ours_of(c)) for c in card["claims"][:3]])


def test_a_missing_metric_says_why(card):
    assert card["absent"]["chance"]["perplexity_8L"] == "it has no probabilities"
    assert "chance has no perplexity_1L" in shown([card])


def test_runs_made_by_other_code_are_marked_and_give_way_to_current_ones(tmp_path):
    old = [write_run(tmp_path, "toy", s, {"accuracy": 0.1}, code="old") for s in range(3)]
    new = write_run(tmp_path, "toy", 0, {"accuracy": 0.9}, processes=2)
    (card,) = judge("toy", PAPER, [new, *old], made_by_other_code)
    assert card["methods"][0]["metrics"]["accuracy"]["values"] == [0.9, 0.1, 0.1]
    assert card["stale"] == sorted(record.result.run_key for record in old[1:])
    assert "2 of 3 runs were made by other code" in shown([card])


def test_current_code_counts_before_the_day_and_then_the_newer_run(tmp_path):
    june, may = {"date": "2026-06-01"}, {"date": "2026-05-01"}
    by_old_code = write_run(tmp_path, "toy", 0, {"accuracy": 0.1}, code="old", around=june)
    older = write_run(tmp_path, "toy", 0, {"accuracy": 0.8}, processes=2, around={"date": "2026-04-01"})
    newer = write_run(tmp_path, "toy", 0, {"accuracy": 0.9}, processes=3, around=may)
    for records in itertools.permutations([by_old_code, older, newer]):
        (card,) = judge("toy", PAPER, records, made_by_other_code)
        assert card["methods"][0]["metrics"]["accuracy"]["values"] == [0.9]
        assert card["stale"] == []
    (card,) = judge("toy", PAPER, [by_old_code, older], made_by_other_code)
    assert card["methods"][0]["metrics"]["accuracy"]["values"] == [0.8]


def test_a_card_bears_the_day_and_the_machine_of_its_newest_run(tmp_path):
    days = (("2026-03-01", 4), ("2026-07-01", 64), ("2026-05-01", 8))
    records = [
        write_run(tmp_path, "toy", seed, {"accuracy": 0.5}, around={"date": day, "cores": cores})
        for seed, (day, cores) in enumerate(days)
    ]
    for order in itertools.permutations(records):
        (card,) = judge("toy", PAPER, order)
        assert card["date"] == "2026-07-01"
        assert "64 cores" in card["machine"]


def test_a_run_whose_items_cannot_be_read_leaves_that_claim_open_and_the_others_judged(tmp_path):
    records = write_sweep(tmp_path)
    torn = next(r for r in records if r.result.config["name"] == "plain").folder / ITEMS
    torn.write_bytes(torn.read_bytes()[:100])
    flat, _, chance, plain = claims(*records)
    assert (flat["verdict"], chance["verdict"]) == ("holds", "holds")
    assert plain["verdict"] == "open"
    assert f"{torn} is torn" in plain["reason"]


def test_items_are_read_for_claims_only_and_once_a_run(sweep, monkeypatch):
    read = []
    monkeypatch.setattr(
        "harness.runs.results.read_items", lambda folder: read.append(folder) or read_items(folder)
    )
    judge("toy", replace(PAPER, claims=()), sweep)
    assert read == []
    judge("toy", PAPER, sweep)
    assert len(read) == len(set(read)) > 0


# Scale, and what a paper's number may say


def test_another_scale_is_never_called_a_reproduction(card):
    for text in (shown([card]), to_markdown([card]), to_html([card])):
        assert "at small scale" in text
        assert "not a reproduction" in " ".join(text.split())
    assert said(card, card["claims"][0]) == "holds at small scale"
    full = {**card, "budget": "full"}
    assert said(full, card["claims"][0]) == "holds"


def test_smoke_runs_are_no_evidence(tmp_path):
    records = write_sweep(tmp_path, budget="smoke")
    for claim in claims(*records):
        assert (claim["verdict"], claim["holm"]) == ("open", False)
        assert "no evidence" in claim["reason"]


def test_a_number_from_memory_is_never_printed(card):
    assert "value" not in card["claims"][2]["reported"]
    for text in (to_json([card]), shown([card]), to_markdown([card]), to_html([card])):
        assert "0.123" not in text
    assert theirs(card["claims"][2]).startswith("better than chance (direction only")


def test_a_known_number_comes_with_its_source_and_how_it_is_known(card):
    assert theirs(card["claims"][0]) == "0.98 (Table 1, read in the paper)"
    assert theirs(card["claims"][1]) == "2.67 (Table 1, from a transcription)"
    assert "L = 512" in to_html([card])


def test_the_command_makes_runs_of_this_setting_again(tmp_path):
    changed = write_run(
        tmp_path, "toy", 0, {}, task={"length": 128}, data={"corpus": "file:my text.txt"}, model="org/name"
    )
    (card,) = judge("toy", PAPER, [changed])
    assert card["command"] == (
        "harness run -m +experiment=toy budget=small 'data.corpus=file:my text.txt' task.length=128 model=org/name"
    )
    assert " · task.length=128 · " in setting(card)
    (card,) = judge("toy", PAPER, [write_run(tmp_path, "toy", 0, {}, budget="full", task={"length": 512})])
    assert card["command"] == "harness run -m +experiment=toy budget=full"
    assert "task." not in setting(card)


def test_a_page_tells_two_settings_of_a_paper_without_data_apart(card):
    bare = {**card, "data": {}}
    page = Page(to_html([bare, {**bare, "command": bare["command"] + " task.draw=2"}]))
    assert page.text.count("task.draw=2") >= 3  # below its name in the overview, beside it, and at its head
    assert judged_on(bare) == ""


def test_two_settings_on_the_same_data_are_told_apart(card):
    one = {**card, "data": {"corpus": "$HARNESS_DATA/my-books/"}}
    other = {**one, "command": one["command"] + " task.rate=.01 'task.words=a b'"}
    assert judged_on(one) == "my-books"
    assert judged_on(other) == "my-books, task.rate=.01 task.words=a b"


def test_what_only_this_machine_has_is_not_published(card, monkeypatch):
    read = [{**card, "data": {"corpus": "/sets/books"}}]
    assert only_here(read) == "/sets/books"
    monkeypatch.setenv("HARNESS_DATA", "/sets")
    assert only_here(json.loads(portable(json.dumps(read)))) == ""


# No winner inside a tie


def test_the_best_is_marked_only_when_the_rule_separates_it(card):
    assert card["leaders"]["perplexity_8L"] == ["toy"]
    assert card["leaders"]["accuracy"] == ["toy", "plain"]
    page = to_html([card])
    assert re.search(r"<b>[\d.]+</b> <span class=\"half\">[^<]+</span><span class=\"place\">1st</span>", page)
    assert page.count('<span class="place">1st–2nd</span>') == 2
    assert to_markdown([card]).count("(1st–2nd)") == 2
    assert shown([card]).count("#1–2") == 2


def test_a_claim_says_its_effect_size_and_what_the_runs_detect(card):
    flat, _, chance, counter = card["claims"]
    assert re.fullmatch(
        r"5 seeds × 250 items detect [\d.]+; for [\d.]+, half of it, you need (\d+ seeds|more items.*)",
        power(chance),
    )
    assert effect(flat).startswith("Effect size")
    assert power(flat).startswith("5 seeds detect a factor of 1.0")
    assert "the paper's distance from the bound, you need 3 seeds" in power(flat)
    assert "On the claimed side of the bound with 5 of 5 seeds, P 1 [0.478, 1]" in strength(chance)
    assert power(counter) in " ".join(to_markdown([card]).split())
    old = {
        key: value for key, value in flat.items() if key not in ("effect", "power")
    }  # a scorecard of before
    assert (effect(old), power(old)) == ("", "")


def test_a_method_with_one_seed_is_neither_best_nor_tied(tmp_path):
    records = [write_run(tmp_path, "toy", s, {"accuracy": 0.5 + s / 100}) for s in range(3)]
    records += [write_run(tmp_path, "plain", s, {"accuracy": 0.2 + s / 90}) for s in range(3)]
    records += [write_run(tmp_path, "toy", 0, {"accuracy": 0.99}, changes={"slope": 3.0})]
    (card,) = judge("toy", PAPER, records)
    assert card["leaders"]["accuracy"] == ["toy"]


# How numbers read


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0, "0"), (0.5, "0.5"), (1.23456, "1.235"), (18.456, "18.46"), (453.32, "453.3"),
        (20000.4, "20,000"), (123456789, "123M"), (-0.0234, "-0.023"), (0.00012345, "0.00012"), (1e-20, "1e-20"),
    ],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_an_interval_is_printed_to_two_digits_of_its_half_width():
    assert span(1.51234, 1.4434, 1.5812) == "1.512 [1.443, 1.581]"
    assert span(18.4, 12.1, 24.7) == "18.4 [12.1, 24.7]"
    assert span(1500.2, 1200.1, 1800.3) == "1,500 [1,200, 1,800]"
    assert span(-0.027, -2.9, 2.85) == "0.0 [-2.9, 2.9]"
    assert span(0.5, None, None) == "0.5"
    assert plus_minus({"mean": 18.4, "low": 12.1, "high": 24.7}) == "18.4 ±6.3"
    assert plus_minus(None) == "–"


def test_bounds_and_tallies_read_as_sentences(card):
    assert [bound(c) for c in card["claims"]] == ["< 1.05", "> 1.3", "> 0.1", "> 0"]
    assert tally(card) == "3 claims of the paper: 3 hold. 1 claim against it: 0 hold, 1 open"


# Pages


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: tags with attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img", "link", "input", "path", "use", "rect", "line", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in ("path", "use", "rect", "line", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page(card, sweep) -> Page:
    return Page(to_html([card], sweep))


def test_every_tag_is_closed_and_every_id_is_its_own(page):
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {v[1:] for _, a in page.tags for k, v in a.items() if k in ("href", "xlink:href") and v[:1] == "#"}
    assert used <= set(ids)


def test_every_picture_says_its_data_in_words(page):
    drawn = [attributes for tag, attributes in page.tags if tag == "svg" and "aria-hidden" not in attributes]
    assert len(drawn) == 5  # two declared figures, quality against cost, two curves
    for attributes in drawn:
        assert attributes["role"] == "img"
        assert len(attributes["aria-labelledby"].split()) == 2
    assert re.search(r"Lines of perplexity by length, in multiples of L\. toy: 1: 19\.9\d?, 2:", page.text)
    assert "Bars of share by" in page.text


def test_a_page_asks_nothing_of_the_network(page):
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_pictures_take_the_colours_of_the_page(card):
    text = to_html([card])
    assert "currentColor" in text
    assert "var(--m1)" in text
    assert not [stand for stand in (figures.INK, figures.PAPER, *figures.STANDS) if stand in text]
    assert "prefers-color-scheme: dark" in text


def test_verdicts_differ_by_sign_and_word_not_by_colour_alone(page):
    for word in ("✓ holds", "? open"):
        assert word in " ".join(page.text.split())


def test_whatever_comes_from_data_is_escaped_everywhere(tmp_path):
    paper = replace(
        PAPER,
        title=HOSTILE,
        url="javascript:alert(1)",
        methods={HOSTILE: PAPER.methods["toy"], "plain": PAPER.methods["plain"]},
        metrics={**PAPER.metrics, "accuracy": Metric("higher", HOSTILE)},
        claims=[Claim(HOSTILE, difference("accuracy", HOSTILE, "plain"), HOSTILE)],
        figures=[Figure(HOSTILE, "line", {"accuracy": 1.0}, x=HOSTILE, y="$x_1$ & <b>")],
    )
    names = [HOSTILE, "plain"]
    records = [
        write_run(
            tmp_path / str(i),
            "plain",
            seed,
            {"accuracy": 0.5 + seed / 10},
            items={"accuracy": answers(0.5, seed)},
            curve={HOSTILE: [1.0, 2.0]},
            data={"corpus": HOSTILE},
        )
        for i in range(2)
        for seed in range(3)
    ]
    for record, name in zip(records, names * 3, strict=True):
        record.result.config["name"] = name
    failed = write_run(
        tmp_path, "plain", 9, {}, error={"type": HOSTILE, "message": HOSTILE}, data={"corpus": HOSTILE}
    )
    cards = judge("toy", paper, [*records, failed])
    page = Page(to_html(cards, records))
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert not [a for _, a in page.tags if (a.get("href") or "").startswith("javascript")]
    assert HOSTILE[:25] in page.text
    prose = [line for line in to_markdown(cards).splitlines() if not line.startswith("    ")]  # code aside
    assert not [line for line in prose if "<script" in line or "![p]" in line or "\x1b" in line]
    assert "\x1b" not in shown(cards)
    assert "[bold]" in shown(cards)


def test_a_figure_of_its_own_is_the_same_bytes_each_time(card, tmp_path):
    for name in ("one.svg", "two.svg"):
        draw(PAPER.figures[0], card, tmp_path / name)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.svg", "two.svg"))
    assert one == two
    import xml.etree.ElementTree as ET

    root = ET.fromstring(one)
    assert root.tag.endswith("svg")
    assert b"prefers-color-scheme:dark" in one
    assert b"Perplexity beyond the training length" in one


def test_a_figure_without_numbers_says_so(card, tmp_path):
    empty = Figure("Nothing", "bar", {"no_such_metric": "x"}, x="", y="share")
    draw(empty, card, tmp_path / "empty.svg")
    assert "No method has these metrics yet" in (tmp_path / "empty.svg").read_text()


def test_curves_are_means_over_seeds(card, tmp_path):
    records = [write_run(tmp_path, "toy", s, {}, curve={"loss": [3.0 + s, 1.0 + s]}) for s in range(3)]
    (card,) = judge("toy", PAPER, records)
    ((figure, (line,)),) = figures.curves(card, records)
    assert (figure.y, line.label) == ("loss", "toy")
    assert (list(line.x), list(line.y)) == ([0, 1], [4.0, 2.0])


def test_a_method_has_one_colour_in_every_picture(card):
    chance_only = Figure("Answers", "bar", {"accuracy": "right"}, x="", y="")
    places = {line.label: line.place for line in figures.lines(chance_only, card)}
    assert places == {"toy": 0, "plain": 1, "chance": 2}
    assert [line.place for line in figures.lines(PAPER.figures[0], card)] == [0, 1]


def test_no_runs_say_which_command_to_run(tmp_path):
    assert judge("toy", PAPER, find_runs(tmp_path)) == []
    for text in (shown([]), to_markdown([]), Page(to_html([])).text):
        assert "harness run -m +experiment=quickstart" in text


def test_several_papers_share_a_page_with_an_overview(card):
    page = Page(to_html([card, {**card, "paper": "toy2", "budget": "full"}]))
    assert "2 papers, claim by claim" in page.text
    assert {"#s0", "#s1"} <= {attributes.get("href") for _, attributes in page.tags}
