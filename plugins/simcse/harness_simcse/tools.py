"""`harness simcse ...`: export a run, judge any encoder on STS, gather sentences, make triplets of NLI data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UsageError
from harness.tools.options import Model, Results


def tools(app: typer.Typer) -> None:
    """Add the commands to `app`."""

    @app.command("export")
    def export_(
        run: Annotated[str, typer.Argument(help="A run's folder, or the first digits of its key.")],
        to: Annotated[Path, typer.Option(help="The folder to write.")],
        weights: Annotated[str, typer.Option(help="best (chosen on the validation pairs) or last.")] = "best",
        results: Results = Path("results"),
    ) -> None:
        """Write a run's encoder for sentence-transformers: harness simcse export 1f2e3d --to my-encoder"""
        from harness.tools import run_folder
        from harness_simcse.export import export

        if weights not in ("best", "last"):
            raise UsageError(f"--weights={weights} is not known: use best or last")
        print(export(run_folder("simcse", run, results).resolve(), to, weights))

    @app.command("sts")
    def sts_(
        folder: Annotated[Path, typer.Argument(help="A folder of SentEval sets, or a table.")],
        model: Model = "",
        pooling: Annotated[
            str, typer.Option(help="cls, mean, max or pooler; empty: as the folder says.")
        ] = "",
        results: Results = Path("results"),
    ) -> None:
        """Judge an encoder on STS, with all three aggregations: harness simcse sts STS/ --model my-encoder"""
        from harness.nn.encoder import load_encoder
        from harness.tools import fetched
        from harness_simcse import paper
        from harness_simcse.protocol import correlation, cosines, read, vectors

        judged = read(folder)
        encoder = load_encoder(fetched(model or paper().model, results).path, pooling=pooling or None)
        scored = cosines(vectors(encoder.encode, judged.sets.values()), judged.sets)
        print(f"{'set':<10} {'pairs':>6} {'all':>7} {'mean':>7} {'wmean':>7}")
        for name, pairs in judged.sets.items():
            numbers = [100 * correlation(pairs, scored[name], how) for how in ("all", "mean", "wmean")]
            print(f"{name:<10} {len(pairs):>6} " + " ".join(f"{number:7.2f}" for number in numbers))
        for reason, count in judged.skipped.items():
            print(f"left out: {count} rows ({reason})")

    @app.command("triplets")
    def triplets_(
        source: Annotated[
            Path, typer.Argument(help="A table of NLI pairs, or a folder of tables or aligned files.")
        ],
        to: Annotated[Path, typer.Option(help="The csv to write.")],
    ) -> None:
        """Make data.triplets of NLI data: harness simcse triplets snli/ --to triplets.csv"""
        from harness_simcse.nli import rows, triplets, write

        pairs = list(rows(source))
        found = triplets(pairs)
        if not found:
            raise UsageError(f"{source} has no premise with both an entailed and a contradicted hypothesis")
        to.parent.mkdir(parents=True, exist_ok=True)
        write(found, to)
        print(f"{to}: {len(found)} triplets of {len(pairs)} pairs")

    @app.command("sentences")
    def sentences_(
        files: Annotated[
            list[Path], typer.Argument(help="Text files with a sentence a line, or STS files: both sides.")
        ],
        to: Annotated[Path, typer.Option(help="The text file to write.")],
    ) -> None:
        """Gather data.sentences of several files: harness simcse sentences sts-train.csv subj.txt --to s.txt"""
        from harness_simcse.sentences import gather

        found = [text for file in files for text in gather(file)]
        if not found:
            raise UsageError(f"{', '.join(map(str, files))} hold no sentence: give a file with one a line")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text("".join(f"{text}\n" for text in found), encoding="utf-8")
        print(f"{to}: {len(found)} sentences")
