"""`harness simcse ...`: export a run, judge any encoder on STS and on transfer tasks, gather sentences and triplets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.errors import UsageError
from harness.tools.options import Device, Json, Model, Pooling, Prompt, Results, Trusted


def tools(app: typer.Typer) -> None:
    """Add the commands to `app`."""

    @app.command("export")
    def export_(
        run: Annotated[str, typer.Argument(help="A run's folder, or the first digits of its key.")],
        to: Annotated[Path, typer.Option(help="The folder to write.")],
        weights: Annotated[str, typer.Option(help="best (chosen on the validation pairs) or last.")] = "best",
        trust_remote_code: Trusted = False,
        as_json: Json = False,
        results: Results = Path("results"),
    ) -> None:
        """Write a run's encoder for sentence-transformers: harness simcse export 1f2e3d --to my-encoder"""
        from harness.tools import folder_to_write, run_folder
        from harness_simcse.export import export

        if weights not in ("best", "last"):
            raise UsageError(f"--weights={weights} is not known: use best or last")
        folder_to_write(to)
        told = export(run_folder("simcse", run, results).resolve(), to, weights, trust_remote_code)
        print(json.dumps({"folder": str(to), "told": str(told)}) if as_json else told)

    @app.command("sts")
    def sts_(
        data: Annotated[
            str, typer.Argument(help="A folder of SentEval sets, or a table: FILE or 'FILE?score:ITS_NAME'.")
        ],
        model: Model = "",
        pooling: Pooling = "",
        prompt: Prompt = None,
        trust_remote_code: Trusted = False,
        device: Device = "auto",
        as_json: Json = False,
        results: Results = Path("results"),
    ) -> None:
        """Judge an encoder on STS, with all three aggregations: harness simcse sts STS/ --model my-encoder"""
        from harness_simcse.protocol import correlation, cosines, read, read_source, vectors

        path = _there(data)
        judged = read(path) if path else read_source(_resolved(data, (), results))
        encoder = _encoder(model, pooling, prompt, trust_remote_code, device, results)
        scored = cosines(vectors(encoder.encode, judged.sets.values()), judged.sets)
        own = Path(data.partition("?")[0]).stem
        rows = [
            {
                "set": own if name == "own" else name,
                "pairs": len(pairs),
                **{how: 100 * correlation(pairs, scored[name], how) for how in ("all", "mean", "wmean")},
            }
            for name, pairs in judged.sets.items()
        ]
        if as_json:
            print(json.dumps({"sets": rows, "left_out": judged.skipped}, ensure_ascii=False))
            return
        wide = max(10, *(len(str(row["set"])) for row in rows))
        print(f"{'set':<{wide}} {'pairs':>6} {'all':>7} {'mean':>7} {'wmean':>7}")
        for row in rows:
            print(f"{{set:<{wide}}} {{pairs:>6}} {{all:7.2f}} {{mean:7.2f}} {{wmean:7.2f}}".format(**row))
        for reason, count in judged.skipped.items():
            print(f"left out: {count} rows ({reason})")

    @app.command("transfer")
    def transfer_(
        folder: Annotated[
            Path, typer.Argument(help="SentEval's transfer tasks: MR, CR, SUBJ, MPQA, SST, TREC, MRPC.")
        ],
        model: Model = "",
        pooling: Pooling = "",
        prompt: Prompt = None,
        trust_remote_code: Trusted = False,
        tasks: Annotated[str, typer.Option(help="Some of them, with commas; all that are there.")] = "",
        folds: Annotated[int, typer.Option(min=2, help="Folds to choose and to judge by.")] = 10,
        device: Device = "auto",
        as_json: Json = False,
        results: Results = Path("results"),
    ) -> None:
        """Judge an encoder by logistic regression: harness simcse transfer downstream/ --model my-encoder"""
        from harness_simcse.transfer import accuracy, chosen, read

        found = read(folder)
        wanted = chosen(found, tasks)
        encoder = _encoder(model, pooling, prompt, trust_remote_code, device, results)
        told: list[dict[str, Any]] = []
        if not as_json:
            print(f"{'task':<6} {'rows':>6} {'accuracy':>9} {'f1':>7}")
        for name in wanted:
            splits = found[name]
            texts = list(dict.fromkeys(t for rows in splits.values() for row in rows.texts for t in row))
            known = dict(zip(texts, encoder.encode(texts), strict=True))
            scored = accuracy(splits, known, folds)
            told.append({"task": name, "rows": sum(len(rows.classes) for rows in splits.values()), **scored})
            if not as_json:
                f1 = f"{scored['f1']:7.2f}" if "f1" in scored else ""
                row = f"{name:<6} {told[-1]['rows']:>6} {scored['accuracy']:9.2f} {f1}"
                print(row.rstrip(), flush=True)
        mean = sum(row["accuracy"] for row in told) / len(told)
        if as_json:
            print(json.dumps({"tasks": told, "mean": mean, "folds": folds}))
        else:
            print(f"{'mean':<6} {'':>6} {mean:9.2f}   ({folds} folds, logistic regression)")

    @app.command("triplets")
    def triplets_(
        source: Annotated[
            str,
            typer.Argument(
                help="A table of NLI pairs (FILE or 'FILE?gold_label:ITS_NAME'), or a folder of tables or "
                "aligned files."
            ),
        ],
        to: Annotated[Path, typer.Option(help="The csv to write.")],
        as_json: Json = False,
        results: Results = Path("results"),
    ) -> None:
        """Make data.triplets of NLI data: harness simcse triplets snli/ --to triplets.csv"""
        from harness.tools import outside
        from harness_simcse.nli import pairs_of, rows, triplets, write

        outside(to, source)
        path = _there(source)
        pairs = list(rows(path) if path else pairs_of(_resolved(source, (), results).rows(), source))
        found = triplets(pairs)
        if not found:
            raise UsageError(
                f"{source} has no premise with both an entailed and a contradicted hypothesis: give a set that has some"
            )
        to.parent.mkdir(parents=True, exist_ok=True)
        write(found, to)
        said = {"file": str(to), "triplets": len(found), "pairs": len(pairs)}
        print(json.dumps(said) if as_json else f"{to}: {len(found)} triplets of {len(pairs)} pairs")

    @app.command("sentences")
    def sentences_(
        files: Annotated[
            list[str],
            typer.Argument(
                help="Text files with a sentence a line, STS files (both sides), or 'TABLE?text:ITS_NAME'."
            ),
        ],
        to: Annotated[Path, typer.Option(help="The text file to write.")],
        as_json: Json = False,
        results: Results = Path("results"),
    ) -> None:
        """Gather data.sentences of several files: harness simcse sentences sts-train.csv subj.txt --to s.txt"""
        from collections import Counter

        from harness.tools import outside
        from harness_simcse.sentences import gather, lines

        outside(to, *files)
        found: list[str] = []
        for file in files:
            path = _there(file)
            if path or "?" not in file:
                found += gather(path or Path(file))
            else:
                found += lines(_resolved(file, ("text",), results).documents(), Counter())
        if not found:
            raise UsageError(f"{', '.join(files)} hold no sentence: give a file with one a line")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text("".join(f"{text}\n" for text in found), encoding="utf-8")
        said = {"file": str(to), "sentences": len(found)}
        print(json.dumps(said) if as_json else f"{to}: {len(found)} sentences")


def _there(name: str) -> Path | None:
    """Return the path that a word is; None for one that names columns after a question mark, or nothing here."""
    from harness.data import files

    path = Path(name).expanduser()
    return path if files.there(path) else None


def _resolved(name: str, columns: tuple[str, ...], results: Path) -> Any:
    from harness.data.sources import resolve

    return resolve(name, cache=results / "stages" / "sources", columns=columns)


def _encoder(
    model: str, pooling: str, prompt: str | None, trust_remote_code: bool, device: str, results: Path
) -> Any:
    """Return the encoder that these options name; the paper's small one without a model."""
    from harness.tools import encoder_named
    from harness_simcse import paper

    return encoder_named(
        model or paper().model,
        results,
        pooling=pooling,
        prompt=prompt,
        device=device,
        trust_remote_code=trust_remote_code,
    )
