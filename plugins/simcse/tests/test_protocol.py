"""The protocol: which pairs, which correlation, and a clear word for files that are not what they seem."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from harness_simcse import sts
from harness_simcse.protocol import Pairs, correlation, read, related, table
from scipy.stats import spearmanr

from harness.errors import UsageError

SUBSETS = {
    "news": [("a b c", "a b d", 4.0), ("a b", "c d", 0.5), ("a", "a", 5.0), ("b c d", "b c e", "")],
    "chat": [
        ("x y", "x z", 1.0),
        ("x y z", "x y z", 4.5),
        ("x", "y", 0.0),
        ("x y", "x y q", 3.0),
        ("q", "z", 0.2),
    ],
}


@pytest.fixture(scope="module")
def data_home() -> Path:
    home = os.environ.get("HARNESS_DATA")
    if not home:
        pytest.skip("HARNESS_DATA is not set: the real STS sets are not here")
    return Path(home)


def bag(texts: list[str]) -> np.ndarray:
    """A bag of letters: an encoder one can check by hand."""
    return np.array([[text.split().count(letter) for letter in "abcdeqxyz"] for text in texts], dtype=float)


@pytest.fixture
def senteval(tmp_path):
    folder = tmp_path / "STS" / "STS12-en-test"
    folder.mkdir(parents=True)
    for name, rows in SUBSETS.items():
        (folder / f"STS.input.{name}.txt").write_text("".join(f"{a}\t{b}\n" for a, b, _ in rows))
        (folder / f"STS.gs.{name}.txt").write_text("".join(f"{score}\n" for *_, score in rows))
    home = tmp_path / "STS" / "STSBenchmark"
    home.mkdir()
    for split in ("dev", "test"):
        lines = [f'g\tf\t2012\t{i}\t{s}\t{a} "\t{b}\n' for i, (a, b, s) in enumerate(SUBSETS["chat"])]
        (home / f"sts-{split}.csv").write_text("".join(lines))
    sick = (
        "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n1\ta b\ta b c\t4\tNEUTRAL\n"
    )
    (tmp_path / "STS" / "SICK_test_annotated.txt").write_text(sick + "2\ta b\tx y\t1\tNEUTRAL\n")
    return tmp_path / "STS"


def cosine(a: str, b: str) -> float:
    u, v = bag([a, b])
    return float(u @ v / np.linalg.norm(u) / np.linalg.norm(v))


def test_all_is_one_correlation_over_all_subsets_and_differs_from_both_means(senteval):
    judged = {name: [row for row in rows if row[2] != ""] for name, rows in SUBSETS.items()}
    parts = {
        name: spearmanr([cosine(a, b) for a, b, _ in rows], [s for *_, s in rows]).statistic
        for name, rows in judged.items()
    }
    everything = [row for rows in judged.values() for row in rows]
    oracle = spearmanr([cosine(a, b) for a, b, _ in everything], [s for *_, s in everything]).statistic
    found = {how: sts(bag, senteval, how)["STS12"] for how in ("all", "mean", "wmean")}
    assert found["all"] == pytest.approx(oracle)
    assert found["mean"] == pytest.approx(np.mean(list(parts.values())))
    assert found["wmean"] == pytest.approx((3 * parts["news"] + 5 * parts["chat"]) / 8)
    assert len({round(value, 6) for value in found.values()}) == 3


def test_the_sets_of_a_folder_are_found_and_dev_sets_are_not_judged_on(senteval):
    assert set(sts(bag, senteval)) == {"STS12", "STSB", "SICKR"}
    assert set(read(senteval).sets) == {"STS12", "STSB", "STSB-dev", "SICKR"}


def test_pairs_that_nobody_judged_are_counted(senteval):
    judged = read(senteval)
    assert len(judged.sets["STS12"]) == 8
    assert judged.skipped == Counter({"not judged": 1})


def test_a_quote_is_a_plain_character(senteval):
    assert read(senteval).sets["STSB"].first[0] == 'x y "'


def test_no_sentence_is_encoded_twice(senteval):
    asked: list[str] = []

    def encode(texts):
        asked.extend(texts)
        return bag(texts)

    sts(encode, senteval)
    assert len(asked) == len(set(asked))


def test_ties_get_their_mean_rank():
    pairs = Pairs(["a"] * 4, ["b"] * 4, [1.0, 1.0, 2.0, 3.0], [""] * 4, list("wxyz"))
    # ranks 1.5 1.5 3 4 against 1 2.5 2.5 4: covariance 4.125, variances 4.5 and 4.5
    assert correlation(pairs, np.array([0.1, 0.2, 0.2, 0.9])) == pytest.approx(3.75 / 4.5)


def test_a_table_of_ones_own(tmp_path):
    file = tmp_path / "mine.tsv"
    file.write_text("sentence1\tsentence2\tscore\na b\ta b\t5\na b\tc d\t0\na b\ta c\t2\n\tx\t1\nx\ty\t\n")
    assert sts(bag, file) == {"own": pytest.approx(1.0)}
    assert read(file).skipped == Counter({"an empty sentence": 1, "not judged": 1})


def test_korean_sts_with_its_header(tmp_path):
    for split in ("dev", "test"):
        lines = [
            "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2",
            "g\tf\ty\t0\t5.0\t한 남자\t한 남자",
        ]
        (tmp_path / f"sts-{split}.tsv").write_text(
            "\n".join([*lines, "g\tf\ty\t1\t1.0\t비행기\t아이"]) + "\n"
        )
    pairs = read(tmp_path).sets["STSB"]
    assert (pairs.first, pairs.gold) == (["한 남자", "비행기"], [5.0, 1.0])


ROWS = [("a b", "a b", 5.0), ("a b", "c d", 0.5), ("a b", "a c", 2.0)]


def test_files_are_known_as_they_are_handed_out(tmp_path):
    import json

    klue = tmp_path / "klue-sts-v1.1_dev.json"
    labels = [{"label": s, "real-label": s, "binary-label": int(s > 3)} for *_, s in ROWS]
    klue.write_text(
        json.dumps(
            [
                {"guid": str(i), "sentence1": a, "sentence2": b, "labels": label}
                for i, ((a, b, _), label) in enumerate(zip(ROWS, labels, strict=True))
            ]
        )
    )
    sick = tmp_path / "SICK_any_name.txt"
    head = "pair_ID\tsentence_A\tsentence_B\tentailment_label\trelatedness_score\n"
    sick.write_text(head + "".join(f"{i}\t{a}\t{b}\tNEUTRAL\t{s}\n" for i, (a, b, s) in enumerate(ROWS)))
    table = tmp_path / "sick.jsonl"
    names = ("sentence_A", "sentence_B", "relatedness_score")
    table.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in ROWS))
    for file in (klue, sick, table):
        found = read(file).sets["own"]
        assert list(zip(found.first, found.second, found.gold, strict=True)) == ROWS, file


def test_the_command_takes_columns_after_a_question_mark_and_names_the_file(tmp_path, bert):
    import json

    import typer
    from harness_simcse.tools import tools
    from typer.testing import CliRunner

    file = tmp_path / "mine.jsonl"
    rows = [{"s": {"a": a, "b": b}, "how much": s} for a, b, s in ROWS]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = typer.Typer()
    tools(app)
    name = f"{file}?sentence1:s.a+sentence2:s.b+score:how much"
    words = ["sts", name, "--model", str(bert), "--results", str(tmp_path), "--pooling", "mean+max"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    shown = done.output.split("\n")[1].split()
    assert shown[:2] == ["mine", "3"]
    told = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).output)
    assert told["left_out"] == {}
    assert [f"{told['sets'][0][how]:.2f}" for how in ("all", "mean", "wmean")] == shown[2:]
    with pytest.raises(UsageError, match=r"no column sentence1, sentence2, score"):
        CliRunner().invoke(app, ["sts", str(file), "--results", str(tmp_path)], catch_exceptions=False)


def test_the_command_judges_vectors_of_a_server(tmp_path):
    import json

    import typer
    from harness_simcse.tools import tools
    from typer.testing import CliRunner

    from benchmarks.serving import Loopback

    file = tmp_path / "mine.jsonl"
    rows = [{"sentence1": "a" * n, "sentence2": "b" * (6 - n), "score": 5 - abs(3 - n)} for n in range(1, 6)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = typer.Typer()
    tools(app)
    with Loopback(vectors=lambda text: [float(len(text)), 3.0]) as server:  # equal lengths, equal vectors
        words = [
            "sts",
            str(file),
            "--model",
            f"{server.address}#tiny",
            "--results",
            str(tmp_path / "results"),
        ]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.output.split("\n")[1].split()[:3] == ["mine", "5", "100.00"]


def test_triplets_and_sentences_take_columns_after_a_question_mark_too(tmp_path):
    import json

    import typer
    from harness_simcse.tools import tools
    from typer.testing import CliRunner

    file = tmp_path / "nli.jsonl"
    rows = [
        {"p": "a", "h": "b", "l": {"gold": "entailment"}},
        {"p": "a", "h": "c", "l": {"gold": "contradiction"}},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = typer.Typer()
    tools(app)

    def run(*words):
        to = tmp_path / "out"
        CliRunner().invoke(app, [*words, "--to", str(to), "--results", str(tmp_path)], catch_exceptions=False)
        return to.read_text().splitlines()

    named = f"{file}?sentence1:p+sentence2:h+gold_label:l.gold"
    assert run("triplets", named) == ["sent0,sent1,hard_neg", "a,b,c"]
    assert run("sentences", f"{file}?text:h") == ["b", "c"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    from harness_simcse.preparation import tiny_bert

    folder = tmp_path_factory.mktemp("bert")
    tiny_bert(["a b c d", "b c"], folder)
    return folder


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"sentence1": "a", "sentence2": "b", "similarity": 1}], r"no column score, only .*score:ITS_NAME"),
        (
            [{"sentence1": "a", "sentence2": "b", "score": "high"}],
            r"row 1 has the score 'high', which is no number",
        ),
        ([{"sentence1": "a", "sentence2": "b", "score": "nan"}], r"no number"),
        ([{"sentence1": "a", "sentence2": "b", "score": ""}], r"has 0 judged pairs"),
        ([{"sentence1": "a", "sentence2": "b", "score": 2}] * 3, r"every pair the score 2"),
    ],
)
def test_a_table_that_cannot_be_judged_on_is_refused(tmp_path, rows, says):
    with pytest.raises(UsageError, match=says):
        table(rows, tmp_path / "mine.tsv", Counter())


def test_broken_senteval_files_are_named(senteval, tmp_path):
    gold = senteval / "STS12-en-test" / "STS.gs.news.txt"
    text = gold.read_text()
    gold.write_text(text + "3\n")
    with pytest.raises(UsageError, match=r"STS\.input\.news\.txt has 4 lines and STS\.gs\.news\.txt 5"):
        read(senteval)
    gold.unlink()
    with pytest.raises(UsageError, match="no scores beside it"):
        read(senteval)
    gold.write_text(text)
    (senteval / "STS12-en-test" / "STS.input.news.txt").write_text("one column\n" * 4)
    with pytest.raises(UsageError, match="line 1 has 1 columns where 2 are needed"):
        read(senteval)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no judged sets"):
        read(tmp_path / "empty")


@pytest.mark.slow
def test_mean_pooled_minilm_gives_the_published_numbers(data_home):
    from harness_simcse import paper

    from harness.data.sources import resolve_model
    from harness.nn.encoder import load_encoder

    cache = Path(__file__).parents[3] / "results" / "stages" / "sources"
    encoder = load_encoder(resolve_model(paper().model, cache=cache).path)
    assert 100 * sts(encoder.encode, data_home / "senteval-stsb")["STSB"] == pytest.approx(82.03, abs=0.02)
    sixteen = sts(encoder.encode, data_home / "senteval-sts" / "STS16-en-test")
    assert 100 * sixteen["STS16"] == pytest.approx(78.99, abs=0.02)


def test_the_judged_sets_have_as_many_pairs_as_published(data_home):
    found = read(data_home / "senteval-sts").sets | read(data_home / "senteval-stsb").sets
    sizes = {"STS12": 3108, "STS13": 1500, "STS14": 3750, "STS15": 3000, "STS16": 1186}
    assert {name: len(pairs) for name, pairs in found.items()} == sizes | {"STSB-dev": 1500, "STSB": 1379}


def test_pairs_are_related_where_they_share_a_sentence_if_only_through_another_pair():
    pairs = Pairs()
    for number, (first, second) in enumerate([("a", "b"), ("c", "d"), ("b", "e"), ("f", "e"), ("g", "g")]):
        pairs.add(first, second, float(number), "", str(number))
    one, two, three, four, five = related(pairs)
    assert one == three == four
    assert len({one, two, five}) == 3
