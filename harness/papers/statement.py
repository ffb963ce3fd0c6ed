"""What a plugin says about its paper, as plain data.

A paper has a task (what all its methods share), methods (its own, ablations, baselines),
metrics and claims. A claim is a contrast between measured numbers with a margin, the place
in the paper, and the number the paper reported. Nothing here computes: `stats` does, and it
reads only these values. Light on purpose: importing a plugin must not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

API_VERSION = 1  # of the hooks and of these values: raised when a plugin must change


def setting(default: Any, help: str, least: float | None = None, most: float | None = None) -> Any:
    """Declare one documented field of a task or method dataclass.

    A number below `least` or above `most`, also one of a list, is refused before anything runs.
    """
    metadata = {"help": help, "least": least, "most": most}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def source(default: str, help: str, columns: Sequence[str] = ("text",)) -> Any:
    """Declare one data source of a paper's `Data`: a name that `data.<field>=` may replace.

    `columns` are the columns a table must have; plain text has the one column `text`.
    """
    return field(default=default, metadata={"help": help, "columns": tuple(columns)})


@dataclass(frozen=True)
class Items:
    """Per-item outcomes behind a metric, so that the core can reduce, resample and pair them.

    `columns` maps a name to n numbers; `ids` are n identifiers, equal between two runs exactly
    when their items are the same test items. A correlation's item is a pair of columns. Several draws an item (ten
    answers to one question) are a column of shape (n, draws): the item's mean is its value, and what varies over
    items. More draws make that mean less noisy, and so the interval narrower; how much of the items' variance is
    still from draws is printed with the verdict. They are no further items, nor seeds.

    Items that share a document, a dialogue, a template, an article or a text are not independent: `groups`
    maps the name of such a factor to each item's group, and whole groups are then resampled; at most two
    cross. `fixed` names those of them that a claim does not generalise over (kinds of constructed edits).
    `contiguous` says that the items are consecutive pieces of one long text, which is then cut into stretches.

    `inputs` are what the items ask, each a text or a row of numbers as training would meet it: by them
    `harness check` sees that all methods answer the same, and that training has not met them.
    """

    columns: Mapping[str, Any]  # each (n,) or (n, draws): lists or arrays of numbers
    ids: Sequence[str]
    groups: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # each (n,): names or numbers
    fixed: Sequence[str] = ()
    contiguous: bool = False
    inputs: Sequence[Any] = ()  # (n,) or none


@dataclass(frozen=True)
class Metric:
    """A number that `evaluate` returns under this metric's name, or as `Items` to reduce.

    `reduce` is "mean", "exp_mean" (one column), "spearman", "pearson", "kendall" (the first two
    columns), or a pure function of the columns, `{name: (n,) array} -> float`. `exact` is a count that
    chance does not touch (bytes of a file, parameters): judged as it is, from one seed on. `range` is what
    the metric cannot leave, such as (0, 1) of an accuracy: intervals stay inside.

    `over` names a list of the task, as in `over="task.temperatures"`: there is then a metric for each of its values,
    called `accuracy@0.7`, `accuracy@1.5` (a whole number without a point), of which `evaluate` returns
    `{"accuracy": {0.7: items, 1.5: items}}`. A claim names one: `difference("accuracy@1.5", ...)`.

    `judged` says that people or models decide it after the run: `evaluate` keeps texts with `run.sample` and does not
    return it, `harness judgments` hands the texts out blinded and reads the scores back, whose mean it is.

    `versus` says that it compares two runs, which `evaluate` never sees together: the hook `versus` returns it,
    a share of wins with the range (0, 1), and only a claim of `wins` may name it.
    """

    better: Literal["higher", "lower"]
    text: str
    unit: str = ""
    reduce: str | Callable[[Mapping[str, Any]], float] = "mean"
    exact: bool = False
    range: tuple[float, float] | None = None
    over: str = ""
    judged: bool = False
    versus: bool = False


@dataclass(frozen=True)
class Method:
    """A named variant: an instance of the paper's method dataclass.

    `deterministic` methods run once, without a seed interval. `tune` maps a field to its grid;
    the grid is searched on `validation` with the first seed, then frozen. `less` says why a baseline is trained
    on fewer steps, rows or tokens than the method it is compared with. `takes_model=False` says that it starts
    from nothing: `model=` is refused then, and not recorded as if it had been read.
    """

    config: Any
    text: str
    baseline: bool = False
    deterministic: bool = False
    tune: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    less: str = ""
    takes_model: bool = True


class Seen(Enum):
    """How we know a number of the paper. One known from memory only is never printed."""

    PAPER = "paper"
    CODE = "code"
    TRANSCRIPTION = "transcription"
    MEMORY = "memory"


@dataclass(frozen=True)
class Reported:
    """The number a paper printed: its value, the setting it holds for, where, and how we know.

    `same` says that it is the claim's own quantity, in its unit and direction; only such a number stands
    beside ours. Any other is told in words, by its `setting`.
    """

    value: float
    setting: str
    source: str
    seen: Seen
    same: bool = False


@dataclass(frozen=True)
class Contrast:
    """A quantity made of a run's metrics, and the side of `by` it must lie on to hold.

    Build one with `difference`, `ratio`, `level`, `share`, `order` or `wins`.
    """

    kind: Literal["difference", "ratio", "level", "share", "order", "wins"]
    metric: str
    method: str
    than: str = ""  # another method: a difference's subtrahend, a ratio's denominator, whom one wins over
    over: str = ""  # another metric of the same method: a ratio's denominator
    of: tuple[str, ...] = ("", "")  # a share's start and full methods; those that follow in an order
    by: float = 0.0
    side: Literal["above", "below"] = "above"

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods whose runs this contrast needs, in the order it reads them."""
        return tuple(dict.fromkeys(m for m in (self.method, self.than, *self.of) if m))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics this contrast needs of each of its methods."""
        return tuple(m for m in (self.metric, self.over) if m)


def difference(metric: str, method: str, than: str, by: float = 0.0) -> Contrast:
    """Say that `method` beats `than` on `metric` by more than `by`, whichever way is better."""
    return Contrast("difference", metric, method, than=than, by=by)


def ratio(
    metric: str,
    method: str,
    *,
    than: str = "",
    over: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
) -> Contrast:
    """Bound a metric over the same metric of another method (`than`), or over another metric (`over`)."""
    if bool(than) == bool(over):
        raise ValueError("a ratio needs either `than` (another method) or `over` (another metric)")
    return Contrast("ratio", metric, method, than=than, over=over, **_bound(at_least, at_most))


def level(
    metric: str, method: str, *, at_least: float | None = None, at_most: float | None = None
) -> Contrast:
    """Bound a metric of one method."""
    return Contrast("level", metric, method, **_bound(at_least, at_most))


def share(
    metric: str,
    method: str,
    *,
    of: tuple[str, str],
    at_least: float | None = None,
    at_most: float | None = None,
) -> Contrast:
    """Bound the part of the way from `of[0]` to `of[1]` that `method` goes, 1.0 being all of it."""
    return Contrast("share", metric, method, of=of, **_bound(at_least, at_most))


def order(metric: str, methods: Sequence[str], by: float = 0.0) -> Contrast:
    """Say that each of three or more `methods` beats the next one on `metric` by more than `by`.

    One claim with one number: the smallest of the steps, which holds where every step does. Its p is the largest
    of theirs (an intersection-union test), so the order needs no correction for its steps.
    """
    if len(methods) < 3 or len(set(methods)) < len(methods):
        raise ValueError("an order has three methods or more, each once; two are a difference")
    return Contrast("order", metric, methods[0], of=tuple(methods[1:]), by=by)


def wins(metric: str, method: str, *, over: str, by: float = 0.5) -> Contrast:
    """Say that `method` wins over the method `over` on more than `by` of the items: .5 is neither better.

    `metric` is marked `versus`; a tie is half a win.
    """
    if method == over:
        raise ValueError("a method does not win over itself: name another one")
    if not 0 <= by < 1:
        raise ValueError(f"a share of wins is between 0 and 1, and by={by} is none that more can be asked of")
    return Contrast("wins", metric, method, than=over, by=by)


def _bound(at_least: float | None, at_most: float | None) -> dict[str, Any]:
    if (at_least is None) == (at_most is None):
        raise ValueError("a contrast needs exactly one of `at_least` and `at_most`")
    if at_least is not None:
        return {"by": at_least, "side": "above"}
    return {"by": at_most, "side": "below"}


class Origin(Enum):
    """Where the bound of a claim is from."""

    PAPER = "paper"
    INTEREST = "the smallest difference worth having"
    PROTOTYPE = "a prototype of this experiment"


@dataclass(frozen=True)
class Bound:
    """Where a claim's bound is from, and why; a prototype's names the `data` that it saw."""

    origin: Origin
    why: str = ""
    data: str = ""


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper (or against it) that runs can decide.

    `source` is the place in the paper; `counter` marks a claim that others made against it, `is_control` a
    sentence whose sign is known and that only shows that the experiment can tell. `control` is such a contrast
    for this claim: where it does not hold, the claim cannot be shown here. `margin` is the smallest difference
    worth having, for the answer "no difference worth it"; `bound` says where the contrast's `by` is from. `needs`
    says what it would take to test what no experiment here does: it stands beside `not tested`.
    """

    text: str
    contrast: Contrast
    source: str
    reported: Reported | None = None
    counter: bool = False
    is_control: bool = False
    control: Contrast | None = None
    margin: float | None = None
    bound: Bound | None = None
    needs: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture of the paper's metrics, as data: every method that has one of `points` is drawn.

    `points` maps a metric to where it stands, by `kind`:

    - "line": its x, a number: `{"perplexity@64": 64, "perplexity@128": 128}`
    - "bar": its label: `{"spearman@sts12": "STS12", "spearman@sts13": "STS13"}`
    - "heat map": its column and row; a panel a method, all on one scale:
      `{"found@512/0": ("512", "0 %"), "found@512/50": ("512", "50 %")}`
    - "arrows": its label; a row a method, an arrow from each point to the next:
      `{"accuracy@turn1": "turn 1", "accuracy@turn2": "turn 2"}`
    - "scatter": which axis it is; a dot a method: `{"perplexity": "x", "accuracy": "y"}`

    `x` and `y` name the axes; of arrows what the labels are, and what the values. `log_y` spreads the
    values of any kind by their logarithm. Raises ValueError for points of another kind's shape.
    """

    title: str
    kind: Literal["line", "bar", "heat map", "arrows", "scatter"]
    points: Mapping[str, float | str | Sequence[float | str]]
    x: str
    y: str
    log_x: bool = False
    log_y: bool = False

    def __post_init__(self) -> None:
        """Refuse points that this kind cannot place."""
        fits, wanted = {
            "line": (lambda p: isinstance(p, int | float), "its x as a number"),
            "bar": (lambda p: isinstance(p, str), "its label"),
            "heat map": (lambda p: isinstance(p, list | tuple) and len(p) == 2, "its (column, row)"),
            "arrows": (lambda p: isinstance(p, str), "its label"),
            "scatter": (lambda p: p in ("x", "y"), "its axis, 'x' or 'y'"),
        }[self.kind]
        for metric, point in self.points.items():
            if not fits(point):
                raise ValueError(f"figure {self.title!r}: give {metric} {wanted}, not {point!r}")
        if self.kind == "scatter" and sorted(map(str, self.points.values())) != ["x", "y"]:
            raise ValueError(f"figure {self.title!r}: a scatter has one metric for x and one for y")


@dataclass(frozen=True)
class Plan:
    """What a run would cost, computed without running it. Counts are exact, the rest from `formula`.

    `memory` tells by phase ("training", "generating") which part takes how many bytes; `memory_bytes` is the largest
    phase's sum. `levers` maps a setting that lowers it to values, the mildest first: those that change no result
    stand first. `gathered` are the bytes that a device holds of others' weights where they are sharded.
    """

    parameters: int
    parameters_without_embeddings: int
    tokens: int
    flops: float
    memory_bytes: int
    formula: str
    notes: Sequence[str] = ()
    memory: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    levers: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    gathered: int = 0


@dataclass(frozen=True)
class Paper:
    """A paper as a plugin states it.

    `task` and `data` are dataclasses (the only home of their defaults); `budgets` maps a word for
    the scale to overlays on them: `{"full": {"task": {...}, "method": {...}, "data": {...}}}`.
    `tuned_by` names the metric that decides, on validation, between the settings of a method's `tune`.
    `chance` bounds metrics on data that the hook `scramble` has cut the answers out of, at budget=smoke:
    `{"accuracy": (0.35, 0.65)}`; `no_chance` says why there is no such bound, where the data hold answers,
    and `no_validation` why no rows are kept apart for validation: nothing is chosen there.
    `devices` says for how many GPUs of 80 GB a budget is, its model sharded over them; one where it says nothing.
    `hooks` names the submodule that holds each hook, imported when it is first called: `{"train": "training"}`.
    `api_version` is the version of the hooks the plugin was written for; one that states none means the first.
    """

    title: str
    authors: str
    year: int
    url: str
    task: type
    data: type
    methods: Mapping[str, Method]
    metrics: Mapping[str, Metric]
    claims: Sequence[Claim]
    budgets: Mapping[str, Mapping[str, Mapping[str, Any]]]
    model: str = ""
    tuned_by: str = ""
    figures: Sequence[Figure] = ()
    chance: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    no_chance: str = ""
    no_validation: str = ""
    devices: Mapping[str, int] = field(default_factory=dict)
    hooks: Mapping[str, str] = field(default_factory=dict)
    api_version: int = 1
