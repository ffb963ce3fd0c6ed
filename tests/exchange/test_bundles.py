"""Bundles: whole, equal for equal runs, refused where they hold more; and what recomputation and a slice see."""

import dataclasses
import json
import os
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.forgeries import ALWAYS, KINDS, PLUGIN, SEEDS, Case, drawn, honest, seen_by, trial
from harness.commands.verify import show_verify
from harness.contract.replay import ITEMS, by_item, draw, first_points
from harness.errors import HarnessError, UsageError
from harness.exchange.bundles import sealed
from harness.exchange.bundles.checking import LOOKS, recomputed
from harness.exchange.bundles.making import bundle
from harness.exchange.bundles.sealed import CLAIMS, MANIFEST, Refused, opened, published, seal, whole
from harness.runs.results import find_runs

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
pytestmark = pytest.mark.xdist_group("bundles")


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """An honest sweep of a paper that costs nothing: two methods, three seeds."""
    return honest(tmp_path_factory.mktemp("honest"), 0)


@pytest.fixture(scope="module")
def made(case, tmp_path_factory) -> Path:
    """The bundle of that sweep, as a folder."""
    out = tmp_path_factory.mktemp("bundle") / "made"
    bundle([], case.results, out, lambda name: PLUGIN, outputs=True)
    return out


@pytest.fixture
def own(made, tmp_path) -> Path:
    """A copy of the bundle that a test may break."""
    return Path(shutil.copytree(made, tmp_path / "own"))


def resealed(folder: Path) -> None:
    """Hash a folder anew, as who changes a file would."""
    told = json.loads((folder / MANIFEST).read_text("utf-8"))
    seal(folder, told["runs"], told["sweeps"])


def archive(path: Path, members: dict[str, bytes], mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            file.writestr(member, content)
    return path


# Whole


def test_a_bundle_holds_all_that_a_verdict_rests_on(made):
    manifest = opened(made, made).manifest
    assert len(manifest["runs"]) == 2 * len(SEEDS)
    names = {name.rpartition("/")[2] for name in manifest["files"]}
    wanted = {
        "config.json",
        "result.json",
        "items.parquet",
        "metrics.jsonl",
        "packages.json",
        CLAIMS,
        "register.jsonl",
    }
    assert wanted <= names
    assert {job["seed"] for job in manifest["sweeps"]["made"]} == set(SEEDS)
    assert all(run["data"]["table"] for run in manifest["runs"])


def test_the_published_schema_is_that_of_the_code_and_a_manifest_is_valid_by_it(made):
    assert (SCHEMAS / "manifest.schema.json").read_text("utf-8") == published()
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema, told = json.loads(published()), json.loads((made / MANIFEST).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(told, schema, jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**told, "files": 3}, schema, jsonschema.Draft202012Validator)


def test_equal_runs_give_equal_bytes_and_an_archive_opens_as_its_folder_does(case, made, tmp_path):
    for name in ("one.zip", "other.zip"):
        bundle([], case.results, tmp_path / name, lambda name: PLUGIN, outputs=True)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    assert opened(tmp_path / "one.zip", tmp_path / "room").manifest == opened(made, made).manifest


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_byte_of_any_file_can_change_unseen(made, data):
    name = data.draw(st.sampled_from(sorted(opened(made, made).manifest["files"])))
    path = made / name
    before = path.read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    changed = bytearray(before)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(bytes(changed))
        with pytest.raises(Refused, match="its SHA-256 is another"):
            opened(made, made)
    finally:
        path.write_bytes(before)


def looked(part: str, records: list) -> list[str]:
    """Return what one look of a recomputation says of runs."""
    return list(next(look for name, _, look in LOOKS if name == part)(PLUGIN, records))


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_metric_can_be_told_beside_its_items(case, data):
    record = data.draw(st.sampled_from(case.records()))
    name, value = data.draw(st.sampled_from(sorted(record.result.metrics.items())))
    told = data.draw(st.floats(-1e9, 1e9).filter(lambda other: abs(other - value) > 1e-6) | st.none())
    metrics = {**record.result.metrics, name: told}
    assert not looked("metrics", [record])
    assert looked(
        "metrics", [dataclasses.replace(record, result=dataclasses.replace(record.result, metrics=metrics))]
    )


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_setting_seed_or_digest_can_be_told_under_another_key(case, data):
    record = data.draw(st.sampled_from(case.records()))
    result, config = record.result, dict(record.result.config)
    match data.draw(st.sampled_from(["seed", "budget", "task", "method", "data"])):
        case "seed":
            config["seed"] += data.draw(st.integers(1, 9))
        case "budget":
            config["budget"] = data.draw(st.text(max_size=3))
        case "task":
            config["task"] = {**config["task"], "steps": data.draw(st.integers(1, 399))}
        case "method":
            config["method"] = {"columns": data.draw(st.integers(9, 20))}
        case "data":
            digests = {"table": {"digest": data.draw(st.text("0123456789abcdef", min_size=64, max_size=64))}}
            result = dataclasses.replace(result, data=digests)
    changed = dataclasses.replace(result, config=config)
    assert not looked("keys", [record])
    assert looked("keys", [dataclasses.replace(record, result=changed)])


@given(st.sampled_from(["runs", "sweeps", "harness", "files"]), st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_digest_is_over_all_that_the_manifest_tells(made, part, data):
    told = json.loads((made / MANIFEST).read_text("utf-8"))
    assert told["digest"] == whole(told)
    other = data.draw(st.text(max_size=3) | st.integers() | st.lists(st.integers(), max_size=2))
    assert whole({**told, part: other}) != told["digest"]


# Made


def test_runs_that_are_damaged_not_ended_or_gone_are_named_and_refused(case, tmp_path):
    def tried(break_: str, *words: str) -> str:
        results = Path(shutil.copytree(case.results, tmp_path / break_))
        folder = next(iter(find_runs(results))).folder
        if break_ == "torn":
            (folder / "items.parquet").write_bytes(b"PAR1")
        if break_ == "begun":
            (folder / "result.json").unlink()
        if break_ == "gone":
            shutil.rmtree(folder)
        with pytest.raises(HarnessError) as caught:
            bundle(words, results, tmp_path / f"{break_}.zip", lambda name: PLUGIN)
        assert not (tmp_path / f"{break_}.zip").exists()
        return str(caught.value)

    assert "items.parquet is torn" in tried("torn")
    assert "has not ended" in tried("begun")
    assert "which sweep made was asked for" in tried("gone")
    assert "forged/all seed 0, which sweep made was asked for" in tried("chosen", "forged/all,seed=1")
    assert "names no run" in tried("none", "forged/nothing")


def test_one_method_of_a_sweep_may_be_bundled_alone(case, tmp_path):
    manifest = bundle(["forged/all"], case.results, tmp_path / "all", lambda name: PLUGIN)
    assert {run["method"] for run in manifest["runs"]} == {"forged/all"}
    assert not [
        f for f in recomputed(opened(tmp_path / "all", tmp_path), lambda name: PLUGIN) if f.ok is False
    ]


def test_what_a_run_left_is_bundled_only_in_kinds_that_hold_no_code(case, tmp_path):
    results = Path(shutil.copytree(case.results, tmp_path / "results"))
    (next(iter(find_runs(results))).folder / "output" / "model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(Refused, match=r"model\.pkl is of no kind"):
        bundle([], results, tmp_path / "out.zip", lambda name: PLUGIN, outputs=True)
    bundle([], results, tmp_path / "out.zip", lambda name: PLUGIN)


# Refused


@pytest.mark.parametrize(
    "name",
    ["../out.json", "/etc/claims.json", "runs/../../out.json", "C:\\claims.json", "runs/a/b/0123456789abcdef/model.pkl",
     "evil.py", "runs/a/b/0123456789abcdef/../../../../x.json", "runs/a/b/0123456789abcdef/output/pytorch_model.bin",
     "claims.json/", "runs/a/b/0123456789abcdef/output/..", "a\x1b[31m.json"],
)  # fmt: skip
def test_an_archive_with_a_name_of_no_bundle_is_refused_before_anything_is_written(tmp_path, name):
    path = archive(tmp_path / "evil.zip", {MANIFEST: b"{}", name: b"x"})
    with pytest.raises(Refused) as caught:
        opened(path, tmp_path / "room")
    assert not (tmp_path / "room").exists()
    assert "\x1b" not in str(caught.value)


def test_links_are_refused_in_archives_and_in_folders(own, tmp_path):
    path = archive(tmp_path / "link.zip", {CLAIMS: b"/etc/passwd"}, stat.S_IFLNK | 0o777)
    with pytest.raises(Refused, match="is a link"):
        opened(path, tmp_path / "room")
    (own / CLAIMS).unlink()
    (own / CLAIMS).symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="is a link"):
        opened(own, own)
    (own / CLAIMS).unlink()
    os.mkfifo(own / CLAIMS)
    with pytest.raises(Refused, match="is a link or no file"):
        opened(own, own)


def test_bombs_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(sealed, "SMALL", 2**16)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(CLAIMS, b" " * 2**24)
    with pytest.raises(Refused, match="would unpack to"):
        opened(path, tmp_path / "room")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("looks.jsonl", b" " * (sealed.JSON + 1))
    with pytest.raises(Refused, match="at most"):
        opened(path, tmp_path / "room")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(CLAIMS, b"{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr(CLAIMS, b"{}")
    with pytest.raises(Refused, match="one of them twice"):
        opened(path, tmp_path / "room")


def test_an_archive_that_lies_about_a_size_is_refused(tmp_path):
    path = archive(tmp_path / "lie.zip", {CLAIMS: b"x" * 1000})
    content = path.read_bytes().replace(struct.pack("<II", 1000, 1000), struct.pack("<II", 10, 10))
    path.write_bytes(content)
    with pytest.raises(Refused):
        opened(path, tmp_path / "room")


def test_a_table_that_would_grow_beyond_bounds_is_refused(own):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (path, *_) = sorted(own.rglob("items.parquet"))
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2**20, dtype=np.int32)), pa.array(["a"]))
    chunks = pa.chunked_array([column] * 60)
    pq.write_table(pa.table({"metric": chunks}), path)
    resealed(own)
    assert path.stat().st_size < 2**20
    with pytest.raises(Refused, match="cells"):
        opened(own, own)


def test_a_pickle_is_never_opened(own, tmp_path):
    """An array that is a pickle is refused by its head, and no name that ends like a pickle is a bundle's."""
    canary = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {canary}",)

    (path, *_) = sorted(own.rglob("weights.npy"))
    np.save(path, np.array([Payload()], dtype=object), allow_pickle=True)
    resealed(own)
    with pytest.raises(Refused, match="no plain array"):
        opened(own, own)
    assert not canary.exists()


def test_what_is_not_told_or_not_there_is_refused(own):
    (own / "looks.jsonl").write_text("{}\n", "utf-8")
    with pytest.raises(Refused, match="is not in the manifest"):
        opened(own, own)
    (own / "looks.jsonl").unlink()
    (own / "register.jsonl").unlink()
    with pytest.raises(Refused, match="not there"):
        opened(own, own)


@pytest.mark.parametrize("content", ["", "[" * 100_000, "[]", '{"schema": 9}', '{"schema": 1, "runs": 3}'])
def test_a_manifest_that_is_none_is_refused_in_a_sentence(own, content):
    (own / MANIFEST).write_text(content, "utf-8")
    with pytest.raises(Refused) as caught:
        opened(own, own)
    assert "\n" not in str(caught.value)


def test_a_signature_may_lie_beside_the_manifest_and_does_not_change_it(own):
    (own / sealed.SIGNATURE).write_text("{}", "utf-8")
    assert opened(own, own).signed
    resealed(own)
    assert not (own / sealed.SIGNATURE).exists()


def test_odd_content_behind_good_hashes_is_told_and_raises_nothing(own):
    odd = {
        "looks.jsonl": "[]\n",
        "register.jsonl": '{"setting": 3}\n7\n',
        CLAIMS: '{"schema": 1, "papers": [{"paper": 3}]}',
    }
    for name, content in odd.items():
        (own / name).write_text(content, "utf-8")
    resealed(own)
    found = list(recomputed(opened(own, own), lambda name: PLUGIN))
    assert any(finding.ok is False for finding in found)


# Verified


def quick(kind: str, case: Case, folder: Path) -> set[str]:
    return set(seen_by(trial(kind, folder, case, 3)))


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("edited metrics", "metrics"),
        ("dropped seed of one method", "seeds"),
        ("bound changed after data", "bounds"),
        ("swapped seed: the best of six more, told as the worst", "steps"),
        ("edited items: 66 of 1,319, of one run", "items"),
        ("test rows in training", "steps"),
    ],
)
def test_a_forgery_is_seen_where_it_must_be(case, tmp_path, kind, part):
    assert part in quick(kind, case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind, (_, expected) in KINDS.items() if expected == 1])
def test_each_kind_that_must_be_seen_is(case, tmp_path, kind):
    assert quick(kind, case, tmp_path)


def test_kinds_that_recomputation_must_see_are_seen_without_running_anything(case, tmp_path):
    for place, kind in enumerate(ALWAYS[:3]):
        found = trial(kind, tmp_path / str(place), case, 3)
        assert [f for f in found if f.ok is False and f.part not in ("steps", "items", "overlap", "data")]


def test_an_honest_bundle_is_verified_and_its_draw_is_the_seeds(case, tmp_path, made):
    found = trial("nothing: an honest bundle", tmp_path, case, 5)
    assert not [finding for finding in found if finding.ok is False]
    assert {"steps", "items", "overlap", "data", "verdicts"} <= {finding.part for finding in found}
    records = list(find_runs(made))
    one, same, other = (draw(records, lambda name: PLUGIN, seed, 0.03) for seed in (1, 1, 2))
    assert one == same
    assert [chosen.items for chosen in one] != [chosen.items for chosen in other]
    assert all(len(chosen.items or ()) == ITEMS for chosen in one)


def test_first_points_are_made_again_with_the_probability_that_keeps_to_the_share(case):
    record = case.records()[0]  # 400 steps, a point every ten
    assert first_points(record, 0.03) == (10, 1.0)
    assert first_points(record, 0.1) == (40, 1.0)
    assert first_points(record, 0.01) == (10, pytest.approx(0.4))


def test_one_edited_item_of_1319_is_drawn_by_64_in_one_of_twenty():
    assert drawn(1) == pytest.approx(64 / 1319)
    assert by_item(PLUGIN)


def test_a_curve_without_its_first_points_is_seen(own):
    for path in own.rglob("metrics.jsonl"):
        lines = path.read_text("utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[5:]), "utf-8")
    resealed(own)
    found = list(recomputed(opened(own, own), lambda name: PLUGIN))
    assert "begins at step 60" in next(f.said for f in found if f.part == "curves")


def test_a_method_that_is_called_declared_with_other_settings_is_seen(own):
    path = next(iter(sorted(own.rglob("result.json"))))
    told = json.loads(path.read_text("utf-8"))
    told["config"]["method"]["columns"] = 3
    path.write_text(json.dumps(told), "utf-8")
    resealed(own)
    found = {f.part: f for f in recomputed(opened(own, own), lambda name: PLUGIN)}
    assert found["settings"].ok is False
    assert found["keys"].ok is False


def test_a_failed_run_is_part_of_a_bundle_and_no_forgery(case, tmp_path):
    results = Path(shutil.copytree(case.results, tmp_path / "results"))
    other = dataclasses.replace(case, folder=tmp_path)

    def broken(run):
        raise ValueError("it is broken")

    from harness.contract.bench import Altered

    for name in ("all", "half"):
        other.run(other.spec(name, 3), Altered(PLUGIN, train=broken) if name == "all" else PLUGIN)
    manifest = bundle([], results, tmp_path / "out", lambda name: PLUGIN)
    assert [run["status"] for run in manifest["runs"]].count("failed") == 1
    found = list(recomputed(opened(tmp_path / "out", tmp_path), lambda name: PLUGIN))
    assert not [finding for finding in found if finding.ok is False]


def test_the_command_says_what_it_saw_escaped_and_leaves_with_its_code(own, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("harness.commands.verify.load", lambda name: PLUGIN)
    code = show_verify(own, 4, 0.03, False, [], tmp_path / "results", True)
    told = json.loads(capsys.readouterr().out)
    assert (code, told["verified"], told["seed"], told["run_again"]) == (0, True, 4, False)
    path = next(iter(sorted(own.rglob("result.json"))))
    record = json.loads(path.read_text("utf-8"))
    record["metrics"]["[red]\x1b[31mevil"] = 1.0
    path.write_text(json.dumps(record), "utf-8")
    resealed(own)
    assert show_verify(own, 4, 0.03, False, [], tmp_path / "results", False) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "evil" in out
    assert "seed of the draw: 4" in out
    with pytest.raises(UsageError, match="--share"):
        show_verify(own, 4, 2.0, False, [], tmp_path / "results", False)
    with pytest.raises(UsageError, match="--data"):
        show_verify(own, 4, 0.03, False, ["table"], tmp_path / "results", False)
    with pytest.raises(UsageError, match="does not exist"):
        show_verify(tmp_path / "none.zip", 4, 0.03, False, [], tmp_path / "results", False)
