"""A Korean report says every sentence of the harness in Korean; names, numbers and papers' words stay."""

import io
import re

import pytest
from rich.console import Console

from harness.errors import UsageError
from harness.reports import phrases
from harness.reports.html import to_html
from harness.reports.languages import _sentences, korean, language
from harness.reports.terminal import to_terminal
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_run, write_sweep

HANGUL = re.compile("[가-힣]")
BLANK = re.compile(r"\{(\w+)\}")
CASES = [
    ("the whole interval lies above 1.3", "구간 전체가 1.3보다 큽니다"),
    ("The whole interval lies below 1.01. 5 paired seeds (t interval).",
     "구간 전체가 1.01보다 작습니다. 짝지은 시드 5개의 t 구간입니다."),
    ("3 seeds × 1,379 items detect 1.9; for 1, half of it, you need 11 seeds",
     "시드 3개 × 문항 1,379개로 알아낼 수 있는 크기는 1.9입니다. 그 절반인 1에는 시드 11개가 필요합니다"),
    ("14 claims of the paper: 0 hold, 9 open, 5 not tested", "논문의 주장 14개: 성립 0, 판단 보류 9, 실행 안 함 5"),
    ("no difference worth 0.05 at small scale", "0.05만큼의 차이 없음(small 규모)"),
    ("3 paired seeds are needed and there are 2", "짝지은 시드가 3개 필요한데 2개뿐입니다"),
    ("chance has no perplexity_1L: it has no finished run",
     "chance에 perplexity_1L 값이 없습니다: 완료된 런이 없습니다"),
]  # fmt: skip


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Whole and partial sweeps: every verdict of the toy paper, runs missing, few seeds, failed ones."""
    found = []
    for name, write in {
        "whole": lambda folder: write_sweep(folder),
        "few": lambda folder: [write_run(folder, "toy", s, {"accuracy": 0.8 + s / 100}) for s in range(2)],
        "failed": lambda folder: [
            write_run(folder, "toy", 0, {"accuracy": 0.5}),
            write_run(folder, "plain", 0, {}, error={"type": "oom", "message": "at step 7"}),
        ],
        "smoke": lambda folder: write_sweep(folder, budget="smoke"),
        "alike": lambda folder: [
            write_run(folder, one, s, {"accuracy": 0.5}) for one in ("toy", "plain") for s in range(3)
        ],
    }.items():
        from harness.runs.results import find_runs

        folder = tmp_path_factory.mktemp(name)
        write(folder)
        found += judge("toy", PAPER, list(find_runs(folder)))
    return found


@pytest.mark.parametrize(("english", "said"), CASES)
def test_a_sentence_is_said_in_korean(english, said):
    assert korean(english) == said


def test_what_a_paper_says_stays_as_it_is():
    for claim in PAPER.claims:
        assert korean(claim.text) == claim.text


def test_blanks_of_both_sides_are_the_same():
    for english, said in _sentences().items():
        assert set(BLANK.findall(english)) == set(BLANK.findall(said)), english


def test_every_sentence_of_a_scorecard_is_said(cards):
    for card in cards:
        said = [phrases.setting(card), phrases.tally(card), card["note"], *phrases.troubles(card)]
        for claim in card["claims"]:
            said += [
                phrases.why(claim),
                phrases.strength(claim),
                phrases.said(card, claim),
                *phrases.flags(claim),
            ]
            said += [phrases.stance(claim), phrases.by_seed(claim), f"asked {phrases.asked(claim)}"]
        for text in filter(None, said):
            for sentence in re.split(r"(?<=\.) (?=[A-Z0-9])", text):
                assert HANGUL.search(korean(sentence)), sentence


def test_terminal_and_page_are_korean(cards):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    to_terminal(cards[:1], console, verbose=True, say=language("ko"))
    page = to_html(cards[:1], lang="ko")
    assert '<html lang="ko">' in page
    for word in ("측정값", "판단 보류", "성립", "구간 전체가"):
        assert word in console.file.getvalue()
        assert word in page
    for english in ("the whole interval", "paired seeds", "Claim by claim", "not decided"):
        assert english not in console.file.getvalue()
        assert english not in page


def test_english_is_as_before(cards):
    assert to_html(cards) == to_html(cards, lang="en")


def test_another_language_is_refused_by_name():
    with pytest.raises(UsageError, match="--lang kr: known: en, ko"):
        language("kr")


@pytest.mark.parametrize("gaps", [(0.1,), (0.1, 0.2), (0.1, 0.12, 0.14, 0.45)])
def test_every_sentence_over_data_is_said(tmp_path, gaps):
    from harness.reports import over
    from harness.verdicts.over import over_data
    from tests.verdicts.over.test_sets import cards as on_data

    paper, found = on_data(tmp_path, gaps)
    parts = over_data(paper, found, "d.txt" if len(gaps) > 3 else "")
    said = [over.setting(parts[0]), *map(over.why, parts[0]["claims"])]
    for text in filter(None, said):
        for sentence in re.split(r"(?<=\.) (?=[A-Z0-9])", text):
            assert HANGUL.search(korean(sentence)), sentence
    console = Console(file=io.StringIO(), width=80, color_system=None)
    over.to_terminal(parts, console, language("ko"))
    page = over.to_html(parts, "ko")
    assert '<html lang="ko">' in page
    for english in ("over data", "the next one", "data sets", " asked ", "degrees of freedom", "yours"):
        assert english not in console.file.getvalue()
        assert english not in page.replace("harness report --over data", "")
    assert over.to_html(parts) == over.to_html(parts, "en")
