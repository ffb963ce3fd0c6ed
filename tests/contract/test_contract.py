"""Every paper here keeps the contract; and the contract notices a plugin that does not, and says what to change."""

import contextlib
import os
import socket
import tempfile
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.contract.bench import Altered, Bench
from harness.contract.checks import _blind, _one_device, checks
from harness.contract.confine import confined
from harness.contract.statements import statements
from harness.papers.plugins import load
from harness.papers.statement import Method, setting

FINITE = "alibi: a smoke run ends with finite metrics"
COMPLETE = "alibi: every metric is there or its absence explained"
TWICE = "alibi: the same run twice gives the same numbers"
OTHER_SEED = "alibi: another seed gives other numbers"
KILLED = "alibi: killed, it goes on to the same numbers"
SCRAMBLED = "alibi: scrambled data score at chance"
EXPERIMENTS = "its experiments name methods and settings that exist"
FAR = ("192.0.2.1", 80)  # an address for documentation: nobody is there


PAPERS = sorted(path.name for path in (Path(__file__).parents[2] / "plugins").iterdir() if path.is_dir())
PAPERS.remove("alibi")  # by its command: tests/commands/test_answers.py


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)  # the examples: where their pages are followed
def test_the_papers_here_keep_the_contract_and_are_tried_on_another_device(paper, tmp_path):
    found = list(checks(load(paper), tmp_path))
    assert [f"{check.name}: {check.fix}" for check in found if not check.passed] == []
    assert [f"{check.name}: {check.untried}" for check in found if check.untried] == []
    tried = {check.name for check in found if "on another device" in check.name}
    assert tried == {f"{name}: on another device it gives the same" for name in load(paper).paper.methods}


class Meddled(Altered):
    """ALiBi's plugin with one method and its baseline, some hooks replaced, and something else stated."""

    def __init__(self, text: Path, stated: dict[str, Any] | None = None, **hooks) -> None:
        super().__init__(load("alibi"), **hooks)
        paper = self.plugin.paper
        assert paper is not None
        data = replace_default(paper.data, "corpus", str(text))
        kept = {name: paper.methods[name] for name in ("alibi", "none")}
        self.paper = replace(paper, **{"methods": kept, "data": data, "claims": [], **(stated or {})})

    def implements(self, hook: str) -> bool:
        return hook in self.hooks or self.plugin.implements(hook)

    def hook(self, name: str):
        return (lambda: self.paper) if name == "paper" else super().hook(name)


def replace_default(cls: type, name: str, default: str) -> type:
    """Return the dataclass with another default of one field: data that are here and small."""
    from dataclasses import field, fields, make_dataclass

    made = [
        (f.name, str, field(default=default if f.name == name else f.default, metadata=f.metadata))
        for f in fields(cls)
    ]
    return make_dataclass(cls.__name__, made)


@pytest.fixture
def fix(text, tmp_path):
    """What the check called `name` says to change about a meddled plugin; nothing after it is run."""

    def look(name: str, stated: dict[str, Any] | None = None, **hooks) -> str:
        found = checks(Meddled(text, stated, **hooks), tmp_path)
        return next(check.fix for check in found if check.name == name)

    return look


def metrics(value: float) -> dict[str, float]:
    """Every metric that is not timed, at one value."""
    names = load("alibi").paper.metrics
    return {name: value for name in names if name.split("_")[-1] not in ("second", "memory")}


AT_ONCE = {"train": lambda run: None, "evaluate": lambda run, split: metrics(1.0 + run.seed)}


@pytest.mark.slow
def test_the_plugin_that_is_meddled_with_keeps_the_contract_if_left_alone(text, tmp_path):
    failed = [check.name for check in checks(Meddled(text), tmp_path) if not check.passed]
    assert failed == [EXPERIMENTS]  # which name the methods that were taken out


def test_a_run_that_is_not_repeatable_is_noticed(fix):
    def evaluate(run, split):
        return metrics(float(os.urandom(1)[0] + 256 * os.urandom(1)[0]))

    assert "run.seed" in fix(TWICE, train=lambda run: None, evaluate=evaluate)


def test_a_run_that_ignores_its_seed_is_noticed(fix):
    def evaluate(run, split):
        return metrics(1.0)

    assert "deterministic" in fix(OTHER_SEED, train=lambda run: None, evaluate=evaluate)


def test_a_metric_that_is_missing_without_a_reason_is_noticed(fix):
    def evaluate(run, split):
        return {"perplexity_1L": float(run.seed + 1)}

    assert "perplexity_2L" in fix(COMPLETE, train=lambda run: None, evaluate=evaluate)


def test_a_metric_that_is_not_a_number_is_noticed(fix):
    def evaluate(run, split):
        return {"perplexity_1L": float("nan")}

    assert "diverged" in fix(FINITE, train=lambda run: None, evaluate=evaluate)


def test_a_process_that_dies_is_noticed(fix):
    assert "exit code 3" in fix(FINITE, train=lambda run: os._exit(3))


def test_a_tensor_left_on_another_device_is_noticed_even_in_a_product(text, tmp_path):
    def training_step(run, device):
        import torch

        torch.ones(4, 4) @ torch.ones(4, 4, device=device)

    bench = Bench(Meddled(text, **AT_ONCE, training_step=training_step), tmp_path)
    assert "tensors on cpu and meta" in _one_device(bench, "alibi")


def test_training_that_a_kill_sends_elsewhere_is_noticed(fix):
    def train(run):
        begun = run.folder / "begun"  # it remembers how often it was begun
        begun.write_text(str(int(begun.read_text()) + 1 if begun.exists() else 1))
        run.progress(1, 2)

    def evaluate(run, split):
        return metrics(run.seed + float((run.folder / "begun").read_text()))

    assert "run.checkpoint" in fix(KILLED, train=train, evaluate=evaluate)


def test_training_that_stumbles_over_what_a_kill_left_is_noticed(fix):
    def train(run):
        (run.output_dir / "model").mkdir()  # fails where it is there already
        run.progress(1, 2)

    assert "run.output_dir is not empty" in fix(KILLED, train=train, evaluate=AT_ONCE["evaluate"])


def test_data_prepared_by_the_clock_are_noticed(fix):
    def prepare(task, data, model, data_dir):
        (data_dir / "made").write_text(str(time.time_ns()))

    assert "made changed" in fix("prepare leaves the same files again, offline", **AT_ONCE, prepare=prepare)


def test_a_preparation_that_looks_at_the_method_is_noticed(text, tmp_path):
    def prepare(task, data, model, data_dir):
        import inspect

        spec = next((f.frame.f_locals["spec"] for f in inspect.stack() if "spec" in f.frame.f_locals), None)
        (data_dir / "made").write_text(spec.name if spec else "alibi")

    bench = Bench(Meddled(text, **AT_ONCE, prepare=prepare), tmp_path)
    bench.run("alibi", "first")
    assert "made differ between alibi and none" in _blind(bench)


def test_smoke_data_from_afar_are_noticed(text, tmp_path):
    plugin = Meddled(text, {"data": replace_default(Meddled(text).paper.data, "corpus", "pypi:x==1#y")})
    looked = (
        check.fix for check in checks(plugin, tmp_path) if check.name == "smoke data are here, or made here"
    )
    assert "data.corpus=pypi:x==1#y" in next(looked)


def test_an_experiment_of_a_method_that_is_not_there_is_noticed(fix):
    assert "fix conf/experiment/alibi" in fix(EXPERIMENTS)


def test_what_a_run_reaches_for_is_told(fix):
    def train(run):
        with contextlib.suppress(OSError), socket.socket() as one:
            one.connect(FAR)

    hooks = {"train": train, "evaluate": AT_ONCE["evaluate"]}
    assert "instead of reaching 192.0.2.1" in fix("no socket leads beyond this machine", **hooks)


def test_what_a_run_leaves_elsewhere_is_told(fix):
    def train(run):
        Path("left.txt").write_text("mine")

    hooks = {"train": train, "evaluate": AT_ONCE["evaluate"]}
    assert "run.output_dir or run.stage instead of left.txt" in fix(
        "nothing is left outside its folders", **hooks
    )


def test_a_score_above_chance_on_scrambled_data_is_noticed(fix):
    chance = {"chance": {"perplexity_1L": (50.0, 60.0)}}
    found = fix(SCRAMBLED, chance, **AT_ONCE, scramble=lambda task, data_dir, seed: None)
    assert "perplexity_1L is 1 on scrambled data where chance lies in [50, 60]" in found


def test_a_chance_without_a_way_to_scramble_is_noticed(fix):
    chance = {"chance": {"perplexity_1L": (50.0, 60.0)}}
    assert "implement the hook scramble" in fix(SCRAMBLED, chance, **AT_ONCE)


# What a confined process is seen to do


@pytest.fixture
def seen(tmp_path):
    """What `confined` sees of a function."""
    (tmp_path / "own").mkdir()
    return lambda act: confined(act, tmp_path / "own", tmp_path / "room")


def connect() -> None:
    with socket.socket() as one:
        one.connect(FAR)


def listen() -> None:
    with socket.socket() as one:
        one.bind(("0.0.0.0", 0))


def look_up() -> None:
    urllib.request.urlopen("http://paper.invalid", timeout=1)


@pytest.mark.parametrize(
    ("act", "address"), [(connect, "192.0.2.1"), (listen, "0.0.0.0"), (look_up, "paper.invalid")]
)
def test_reaching_beyond_this_machine_is_seen_and_refused(seen, act, address):
    found = seen(act)
    assert found.addresses == (address,)
    assert "may not reach" in found.error


def test_loopback_is_not_beyond_this_machine(seen):
    def act():
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()

    assert seen(act).addresses == ()
    assert seen(act).error == ""


@pytest.mark.parametrize("place", ["working", "home", "temporary", "elsewhere", "by native code"])
def test_a_file_left_elsewhere_is_seen(seen, place, tmp_path):
    def act():
        import numpy as np

        if place == "by native code":
            np.ones(2).tofile("left.bin")
        folder = {"working": ".", "home": Path.home(), "temporary": tempfile.gettempdir()}.get(
            place, tmp_path
        )
        (Path(folder) / "left.txt").write_text("mine")

    assert any("left." in file for file in seen(act).files)


def test_its_own_folder_caches_and_what_it_tidies_up_are_its_own(seen, tmp_path):
    def act():
        (tmp_path / "own" / "result.txt").write_text("kept")
        (Path.home() / ".cache" / "kept").write_text("anybody may make it again")
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("for a moment")

    assert seen(act).files == ()


def test_a_file_removed_or_moved_elsewhere_is_seen(seen, tmp_path):
    (tmp_path / "precious.txt").write_text("not yours")
    assert seen((tmp_path / "precious.txt").unlink).files == (str(tmp_path / "precious.txt"),)


# What is only stated


def said(text, stated: dict[str, Any]) -> list[str]:
    return [fix for _, look in statements(Meddled(text, stated)) if (fix := look())]


def test_baselines_without_a_grid_against_tuned_methods_are_noticed(text):
    methods = load("alibi").paper.methods
    kept = {"alibi": replace(methods["alibi"], tune={"position": ["alibi"]}), "none": methods["none"]}
    (fix,) = said(text, {"methods": kept, "tuned_by": "perplexity_1L"})
    assert fix == "give none a grid of the same size in tune"


def test_methods_of_another_kind_are_no_baselines_of_a_tuned_one(text):
    methods = load(
        "alibi"
    ).paper.methods  # the retrofits have grids, and models trained from nothing have none
    assert methods["retrofit"].tune
    assert not methods["none"].tune
    assert said(text, {}) == []


def test_settings_without_words_or_type_are_noticed(text):
    @dataclass
    class Wordless:
        position: str = "alibi"

    @dataclass
    class Typeless:
        position: Any = setting("alibi", "positions")

    for cls, fix in (
        (Wordless, "say what Wordless.position is"),
        (Typeless, "give Typeless.position a type"),
    ):
        kept = {"alibi": Method(cls(), "x"), "none": Method(cls("none"), "y", baseline=True)}
        (found,) = said(text, {"methods": kept})
        assert fix in found


def test_a_papers_own_number_on_the_other_side_of_its_claim_is_noticed(text):
    claim = replace(load("alibi").paper.claims[0], control=None)  # a ratio of at most 1.01
    theirs = replace(claim.reported, value=1.05, same=True)
    (fix,) = said(text, {"claims": [replace(claim, reported=theirs)]})
    assert "asks to be below 1.01 and quotes 1.05 as the same quantity" in fix
    for kept in (
        replace(claim, reported=replace(theirs, same=False)),
        replace(claim, reported=theirs, counter=True),
        replace(claim, reported=replace(theirs, value=0.9)),
    ):
        assert said(text, {"claims": [kept]}) == []


def test_a_control_of_no_method_and_a_margin_of_nothing_are_noticed(text):
    claim = load("alibi").paper.claims[0]
    control = replace(claim.contrast, method="albi")
    (fix,) = said(text, {"claims": [replace(claim, control=control, margin=0.0)]})
    assert "names no method 'albi'" in fix
    assert "has the margin 0.0: give a difference above 0" in fix


def test_a_chance_of_no_metric_is_noticed(text):
    assert said(text, {"chance": {"acuracy": (0.4, 0.6)}}) == ["chance names no metric 'acuracy'"]


def test_a_package_that_imports_much_is_noticed(tmp_path, monkeypatch):
    import sys
    from types import SimpleNamespace

    from harness.contract.statements import _light

    (tmp_path / "harness_heavy.py").write_text("import numpy\n")
    (tmp_path / "harness_slow.py").write_text("import time\nwhile time.process_time() < 1: pass\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def look(module: str) -> str:
        return _light(SimpleNamespace(module=SimpleNamespace(__name__=module)))

    assert "import numpy inside the functions" in look("harness_heavy")
    assert "import less" in look("harness_slow")
    assert "fails in a process of its own" in look("harness_absent")


def burn(seconds: float) -> None:
    """Use that much processor time, on whatever machine."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_paper_that_works_while_it_states_is_noticed(text):
    from harness.contract.statements import _pure

    plugin = Meddled(text)
    plugin.hooks["paper"] = None
    plugin.hook = lambda name: lambda: replace(plugin.paper, year=os.urandom(4)[0])  # type: ignore[method-assign]
    assert any("the same value each time" in _pure(plugin) for _ in range(5))
    plugin.hook = lambda name: lambda: (burn(0.15), plugin.paper)[1]  # type: ignore[method-assign]
    assert "only state" in _pure(plugin)
