"""The `harness` command. Light: what a subcommand needs is imported when it is called.

`run` is handed to Hydra before typer sees it, so that Hydra's own grammar passes through whole;
`harness <paper> <tool>` imports that paper alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.door.answers import complain, wanted
from harness.commands.door.stopping import stopping, tell

Results = Annotated[Path, typer.Option(help="The folder that holds runs, stages and reports.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, errors too: see harness schema.")]
Paper = Annotated[str, typer.Argument(help="A paper's name, as `harness papers` lists it.")]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and leave with its exit code: 0 done, 1 a run failed, 2 wrong usage.

    A signal that asks to end (Ctrl-C, SIGTERM, SIGHUP) is 128 and its number. With `--json` among the arguments what
    goes wrong is said on standard output too, as JSON.
    """
    from harness.errors import HarnessError, Stopped, said

    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = wanted(arguments)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # libraries' bars would fill a log
    for stream in (sys.stdout, sys.stderr):  # a C locale shows a letter that it cannot write as its number
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        with stopping(as_json):
            if arguments[:1] == ["run"]:
                from harness.commands.run import show_run

                raise SystemExit(show_run(arguments[1:], as_json))
            app = _app(arguments)
            app(arguments, prog_name="harness") if not as_json else _answered(app, arguments)
    except HarnessError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"harness: {error}", file=sys.stderr)
        if as_json:
            complain(error.kind or type(error).__name__, str(error), error.fix, error.exit_code)
        raise SystemExit(error.exit_code) from None
    except Stopped as stop:
        tell(stop, as_json)
        raise SystemExit(128 + stop.number) from None
    except Exception as error:  # a defect, of the harness or of a plugin: its traceback is printed too
        if as_json:
            complain(type(error).__name__, said(error), "report it with the traceback on standard error", 1)
        raise
    return 0


def _answered(app: typer.Typer, arguments: list[str]) -> None:
    """Run a command that prints JSON: what typer finds wrong with its words is one of our errors."""
    from harness.errors import UsageError

    try:
        code = app(arguments, prog_name="harness", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        words = context.command_path if context else "harness"
        raise UsageError(f"{error.format_message().rstrip('.')}: see {words} --help") from None
    except typer.Abort:
        raise UsageError("nothing was answered: give all on the command line") from None
    raise SystemExit(code or 0)


def _app(arguments: list[str]) -> typer.Typer:
    """Build the typer app; a paper's own tools are added only where its name is the first word."""
    app = typer.Typer(
        help="Judge a paper's claims on your machine, your model and your data.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        epilog="Start here: [bold]harness run -m +experiment=quickstart[/], then [bold]harness report alibi[/].",
    )
    app.callback()(_options)
    for command in (
        run,
        decide,
        gate,
        plan,
        report,
        compare,
        judge,
        export,
        bundle,
        verify,
        push,
        judgments,
        papers,
        data,
        status,
        new,
        check,
        ui,
        schema,
        skill,
    ):
        app.command()(command)
    word = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    from harness.papers.plugins import VERBS, listed, load

    if word and word not in VERBS:
        from harness.errors import UsageError, nearest

        names = [listing.name for listing in listed()]
        if word not in names:
            raise UsageError(f"there is no command or paper {word!r}: {nearest(word, [*VERBS, *names])}")
        plugin = load(word)
        assert plugin.paper is not None
        tools = typer.Typer(help=plugin.paper.title, no_args_is_help=True)
        if not plugin.implements("tools"):
            raise UsageError(
                f"{word} has no commands of its own: run it with `harness run method={word}/...`"
            )
        plugin.hook("tools")(app=tools)
        app.add_typer(tools, name=word)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"harness {version('paper-harness')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None: ...


def run() -> None:
    """Run a method of a paper, or with -m a sweep of them; takes Hydra overrides.

    Example: harness run -m +experiment=alibi data.corpus=my.txt
    """


def decide(
    overrides: Annotated[list[str], typer.Argument(help="Hydra overrides, as for `harness run -m`.")],
    most_seeds: Annotated[int, typer.Option(help="The last look.")] = 20,
    minutes: Annotated[float | None, typer.Option(help="Begin no look that would end later.")] = None,
    claims: Annotated[
        list[str] | None, typer.Option(help="Only this claim: its number, or words of it; may be repeated.")
    ] = None,
    looks: Annotated[str, typer.Option(help="The seeds at which claims are judged.")] = "3,5,8,12,20",
    spending: Annotated[
        str, typer.Option(help="What looks may err: alike (even), little at first (late).")
    ] = "even",
    power: Annotated[float, typer.Option(help="Stop a claim that what is left decides less often.")] = 0.1,
    json_: Json = False,
) -> None:
    """Run seeds until a paper's claims are decided: looks declared beforehand, seeds only where one is open.

    Example: harness decide +experiment=alibi --minutes 60
    """
    from harness.commands.decide import show_decide

    at = _counts(looks)
    raise SystemExit(show_decide(overrides, at, most_seeds, minutes, claims or [], spending, power, json_))


def gate(
    base: Annotated[
        str, typer.Argument(help="Overrides of a method; with --run a folder, or the words for {change}.")
    ],
    candidate: Annotated[str, typer.Argument(help="As BASE; overrides are put on top of the base's.")],
    run_: Annotated[
        str,
        typer.Option(
            "--run", help="Any program that prints one JSON line, as in 'python train.py --seed {seed}'."
        ),
    ] = "",
    metric: Annotated[str, typer.Option(help="Which number decides.")] = "",
    better: Annotated[str, typer.Option(help="For --run: is it better when higher or lower?")] = "",
    margin: Annotated[float, typer.Option(help="By how much it must be better.")] = 0.0,
    campaign: Annotated[str, typer.Option(help="The campaign this is a proposal of.")] = "",
    alpha: Annotated[float, typer.Option(help="The campaign's error rate.")] = 0.05,
    mode: Annotated[
        str, typer.Option(help="fdr: of what is kept; family: of keeping anything wrongly.")
    ] = "fdr",
    proposals: Annotated[int, typer.Option(help="How many proposals the campaign takes.")] = 200,
    looks: Annotated[str, typer.Option(help="The seeds at which it is judged.")] = "3,5,8,12,20",
    run_minutes: Annotated[float, typer.Option(help="A program that takes longer hangs.")] = 60.0,
    results: Results = Path("results"),
    json_: Json = False,
) -> None:
    """Say whether a change is better, one error rate for all proposals: exit code 0 kept, 3 not kept, 4 undecided.

    Example: harness gate base/ changed/ --run 'python train.py --seed {seed}' --better lower --campaign night
    """
    from harness.commands.gate import show_gate
    from harness.sweeps.proposals import Terms

    terms = Terms(run_, metric, better, margin, alpha, mode, tuple(_counts(looks)), proposals)
    where = results.expanduser().resolve()
    raise SystemExit(show_gate(base, candidate, terms, where, campaign, run_minutes, json_))


def _counts(text: str) -> list[int]:
    from harness.errors import UsageError

    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--looks {text}: give numbers of seeds, as in 3,5,8,12,20") from None


def plan(
    overrides: Annotated[list[str], typer.Argument(help="Hydra overrides, as for `harness run`.")],
    json_: Json = False,
    gb: Annotated[float, typer.Option("--gb", help="Memory of a device, in GB.", min=0.1)] = 80.0,
    price_per_hour: Annotated[
        float | None, typer.Option(help="What an hour of a GPU costs; the price is in the same money.", min=0)
    ] = None,
) -> None:
    """Price a run without running it: parameters, tokens, FLOPs, memory by part, what fits a device, hours.

    Example: harness plan method=alibi/alibi budget=full
    """
    from harness.commands.plan import show_plan

    show_plan(overrides, json_, gb, price_per_hour)


def report(
    papers: Annotated[
        list[str] | None, typer.Argument(help="Which papers; all with runs by default.")
    ] = None,
    results: Results = Path("results"),
    from_: Annotated[str, typer.Option("--from", help="Judge the runs of this MLflow tracking URI.")] = "",
    over: Annotated[
        str, typer.Option(help="data: what a paper's data sets show together, and what the next one would.")
    ] = "",
    mine: Annotated[
        str,
        typer.Option(help="With --over: your own data set, placed beside the others, as data.corpus=my.txt."),
    ] = "",
    json_: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Each claim's reasons too.")] = False,
    claim: Annotated[
        int | None, typer.Option(help="Only this claim, by its number, with its reasons.")
    ] = None,
    lang: Annotated[str, typer.Option(help="The language of terminal and page: en or ko.")] = "en",
) -> None:
    """Turn runs into verdicts: a line a claim here, and Markdown, JSON and one offline HTML file on disk.

    Example: harness report alibi, then harness report alibi --claim 3
    """
    from harness.commands.report import show_over, show_report

    folder = results.expanduser().resolve()
    if over or mine:
        raise SystemExit(show_over(papers or [], folder, from_, json_, over or "data", mine, lang))
    raise SystemExit(show_report(papers or [], folder, from_, json_, verbose, claim, lang))


def compare(
    a: Annotated[
        str, typer.Argument(help="Runs: paper/method, with filters as in alibi/rotary,budget=small.")
    ],
    b: Annotated[str, typer.Argument(help="As A; or a sweep's id, a run key's beginning, a folder.")],
    results: Results = Path("results"),
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric; may be repeated.")] = None,
    detect: Annotated[float, typer.Option(help="Say how many seeds this difference needs.")] = float("nan"),
    margin: Annotated[
        float, typer.Option(help="The smallest difference worth having, of the one --metric.")
    ] = float("nan"),
    from_: Annotated[str, typer.Option("--from", help="Take the runs of this MLflow tracking URI.")] = "",
    json_: Json = False,
) -> None:
    """Compare two sets of runs: paired by seed and item, with what differs in their settings.

    Example: harness compare alibi/alibi alibi/learned
    """
    from harness.commands.compare import show_compare

    folder = results.expanduser().resolve()
    raise SystemExit(show_compare(a, b, folder, from_, metric or [], detect, margin, json_))


def judge(
    paths: Annotated[list[Path], typer.Argument(help="A folder of results, or files.")],
    reader: Annotated[
        str, typer.Option(help="Their format: peft-method-comparison, every-eval-ever or csv.")
    ],
    metric: Annotated[str, typer.Option(help="Which number; the format's first by default.")] = "",
    margin: Annotated[float, typer.Option(help="The smallest difference worth having.")] = float("nan"),
    results: Results = Path("results"),
    json_: Json = False,
) -> None:
    """Judge results that others made: what is told from the best, what is not, and what seeds would cost.

    Example: harness judge runs.csv --reader csv
    """
    from harness.commands.judge import show_judge

    show_judge(paths, reader, metric, margin, results.expanduser().resolve(), json_)


def export(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Papers, or runs as for `harness compare`; all by default."),
    ] = None,
    to: Annotated[
        str, typer.Option(help="The format: claims, every-eval-ever, eval-results, croissant or card.")
    ] = "claims",
    results: Results = Path("results"),
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "--output",
            help="The file of claims, else the folder; results/reports/claims.json or /<format> by default.",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Write runs for others to read: claims with verdicts, records of scores, a model's card, the data they read.

    Example: harness export alibi --to claims
    """
    from harness.commands.export import show_export

    raise SystemExit(show_export(runs or [], to, results.expanduser().resolve(), out, json_))


def push(
    what: Annotated[
        list[str],
        typer.Argument(help="A folder, or runs of one method as for `harness compare`: card and scores."),
    ],
    to: Annotated[str, typer.Option(help="A repository of the hub: user/name.")],
    type_: Annotated[str, typer.Option("--type", help="Its kind: model, dataset or space.")] = "model",
    yes: Annotated[
        bool, typer.Option("--yes", help="Open the pull request; without it, only say what it would hold.")
    ] = False,
    results: Results = Path("results"),
    json_: Json = False,
) -> None:
    """Open a pull request on the hub with exported files; without --yes only say what would go there.

    Example: harness push results/reports/card/alibi-alibi --to user/my-model
    """
    from harness.commands.push import show_push

    raise SystemExit(show_push(what, to, type_, yes, results.expanduser().resolve(), json_))


def bundle(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Runs, as for `harness compare`; all by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A .zip, or a new folder; results/reports/bundle.zip by default.")
    ] = None,
    outputs: Annotated[bool, typer.Option(help="Add what the runs left, such as weights.")] = False,
    results: Results = Path("results"),
    json_: Json = False,
) -> None:
    """Pack runs with all that their verdicts rest on, hashed, for others to verify.

    Example: harness bundle alibi --out alibi.zip
    """
    from harness.commands.bundle import show_bundle

    show_bundle(runs or [], out, outputs, results.expanduser().resolve(), json_)


def verify(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="What `harness bundle` wrote.")],
    seed: Annotated[int | None, typer.Option(help="Of the draw; by default nobody knows it before.")] = None,
    share: Annotated[float, typer.Option(help="Which part of a run's steps is made again.")] = 0.03,
    whole: Annotated[bool, typer.Option(help="Also make one drawn run again whole.")] = False,
    data: Annotated[
        list[str] | None, typer.Option(help="Where a source is here, as in corpus=my.txt; may be repeated.")
    ] = None,
    results: Results = Path("results"),
    json_: Json = False,
) -> None:
    """Recompute what a bundle says and run a drawn part again: exit code 0 verified, 1 something parts.

    Example: harness verify alibi.zip
    """
    from harness.commands.verify import show_verify

    folder = results.expanduser().resolve()
    raise SystemExit(show_verify(path, seed, share, whole, data or [], folder, json_))


def judgments(
    runs: Annotated[
        str, typer.Argument(help="Runs, as for `harness compare`: a paper, a sweep's id, a filter.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write the texts to judge here, a line each.")] = None,
    read: Annotated[Path | None, typer.Option(help="Read such a file back, with numbers in it.")] = None,
    results: Results = Path("results"),
    json_: Json = False,
) -> None:
    """Hand texts of runs to people or models to judge, methods blinded, and read what they say as a metric.

    Example: harness judgments my_paper --out texts.jsonl
    """
    from harness.commands.judgments import show_judgments

    raise SystemExit(show_judgments(runs, results.expanduser().resolve(), out, read, json_))


def papers(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Import each: methods, or what is wrong.")
    ] = False,
    json_: Json = False,
) -> None:
    """List the installed papers; -v imports each and lists its methods or what is wrong with it.

    Example: harness papers -v
    """
    from harness.commands.listing import show_papers

    show_papers(verbose, json_)


def data(paper: Paper, json_: Json = False) -> None:
    """Say what data a paper reads: columns, what it is for, its default, and what is present.

    Example: harness data alibi
    """
    from harness.commands.listing import show_data

    show_data(paper, json_)


def status(
    paper: Annotated[str, typer.Argument(help="One paper; all by default.")] = "",
    results: Results = Path("results"),
    json_: Json = False,
) -> None:
    """Show every run by method and seed: finished, running with ETA, interrupted or failed.

    Example: harness status alibi
    """
    from harness.commands.listing import show_status

    raise SystemExit(show_status(paper, results.expanduser().resolve(), json_))


def new(
    name: Annotated[str, typer.Argument(help="The new paper's name, as in my-paper.")],
    method: Annotated[str, typer.Option(help="What the paper proposes.")] = "my_method",
    baseline: Annotated[str, typer.Option(help="What it is compared with.")] = "plain",
    json_: Json = False,
) -> None:
    """Write the package of a new paper into a folder here: a working plugin to replace piece by piece.

    Example: harness new my-paper --method my_method --baseline plain
    """
    from harness.commands.new import show_new

    show_new(name, method, baseline, json_)


def check(
    paper: Paper,
    every: Annotated[
        bool, typer.Option("--all", help="Look at every method as closely as at the first claim's.")
    ] = False,
    json_: Json = False,
) -> None:
    """Check that a paper's plugin keeps the contract: smoke runs, repeatability, one device, no cheats.

    Example: harness check alibi
    """
    from harness.commands.check import show_check

    raise SystemExit(show_check(paper, json_, every))


def ui(
    paper: Annotated[str, typer.Argument(help="One paper; all with runs by default.")] = "",
    results: Results = Path("results"),
    tracking: Annotated[str, typer.Option(help="Another tracking URI than the results folder's.")] = "",
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 5000,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open a browser, or only say where.")
    ] = True,
    json_: Json = False,
) -> None:
    """Open MLflow's own UI where these results are compared, for this machine only.

    Example: harness ui alibi --port 5001
    """
    from harness.commands.ui import show_ui
    from harness.runs.results import local_store

    uri = tracking or local_store(results.expanduser().resolve())
    show_ui(paper, uri, port, open_, json_)


def schema(
    name: Annotated[str, typer.Argument(help="A command, or error; all are listed by default.")] = "",
    json_: Json = False,
) -> None:
    """Print the JSON Schema of what a command says with --json; x-untrusted marks text that came from data.

    Example: harness schema report
    """
    from harness.commands.listing import show_schema

    show_schema(name, json_)


def skill(
    path: Annotated[bool, typer.Option("--path", help="Print where its folder is, and no more.")] = False,
    json_: Json = False,
) -> None:
    """Print what an agent needs to know to work with this command: the skill that comes with the package.

    Example: harness skill --path
    """
    from harness.commands.listing import show_skill

    show_skill(path, json_)
