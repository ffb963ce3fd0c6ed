"""`harness magpie`: make a set with any chat model, answer questions, show templates and filters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import UsageError, nearest
from harness.tools import (
    device_of,
    digest,
    encoder_named,
    fetched,
    folder_to_write,
    outside,
    quiet_libraries,
    stage,
)
from harness.tools.bars import Bars
from harness.tools.options import (
    Batch,
    Device,
    Engine,
    Json,
    Model,
    Pooling,
    Precision,
    Prompt,
    Results,
    Trusted,
)

if TYPE_CHECKING:
    from harness.data.sources import Source


TemplateArg = Annotated[
    list[str] | None,
    typer.Option(help="What the chat template reads besides, as enable_thinking=false; may be repeated."),
]


def synthesize(
    model: Model = "",
    count: Annotated[int, typer.Option(help="Instructions to sample; fewer pairs are left.")] = 1000,
    out: Annotated[Path, typer.Option(help="The folder of the set; a killed command goes on in it.")] = Path(
        "magpie-set"
    ),
    filter: Annotated[str, typer.Option(help="A preset: harness magpie presets.")] = "valid",
    mode: Annotated[
        str, typer.Option(help="whole, or official: one line, and no word 'assistant'.")
    ] = "whole",
    system: Annotated[str, typer.Option(help="A system message that asks for a domain or language.")] = "",
    domain: Annotated[
        str, typer.Option(help="A system message of ours: math, code, translation, korean, japanese.")
    ] = "",
    temperature: Annotated[float, typer.Option(help="Of the instructions.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Of the instructions.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same set.")] = 0,
    max_instruction_tokens: Annotated[
        int, typer.Option(help="Longer ones are unfinished and dropped.")
    ] = 256,
    max_answer_tokens: Annotated[int, typer.Option(help="Longer answers are cut.")] = 1024,
    language: Annotated[
        str, typer.Option(help="Keep instructions in this language alone: ko, ja, zh, en ...")
    ] = "",
    turns: Annotated[int, typer.Option(help="Most questions of a conversation.")] = 1,
    template_arg: TemplateArg = None,
    batch_size: Batch = 64,
    judge: Annotated[
        str, typer.Option(help="A chat model that labels category, difficulty, quality; self: the generator.")
    ] = "",
    base: Annotated[str, typer.Option(help="The base model, for the reward difference.")] = "",
    reward: Annotated[str, typer.Option(help="A reward model (a sequence classifier).")] = "",
    encoder: Annotated[str, typer.Option(help="A sentence encoder; default: hashed TF-IDF.")] = "",
    pooling: Pooling = "",
    prompt: Prompt = None,
    trust_remote_code: Trusted = False,
    engine: Engine = "",
    shard: Annotated[
        int,
        typer.Option(
            min=1, help="Rows in a shard of tags; processes that run this command share the shards."
        ),
    ] = 25_000,
    precision: Precision = "auto",
    device: Device = "auto",
    as_json: Json = False,
    results: Results = Path("results"),
) -> None:
    """Make instruction data: harness magpie synthesize --model my-chat-model --count 1000 --out my-set"""
    from harness_magpie.export import export
    from harness_magpie.filters import PRESETS, preset_of
    from harness_magpie.generator import load_generator
    from harness_magpie.sampling import Sampling
    from harness_magpie.synthesis import SPOKEN, Recipe, alone, asks_for
    from harness_magpie.synthesis import synthesize as make

    quiet_libraries()
    preset_of(filter)
    known_language(language)
    folder_to_write(out)
    if not encoder and (pooling or prompt is not None or trust_remote_code):
        raise UsageError(
            "--pooling, --prompt and --trust-remote-code are of a sentence encoder: add --encoder, or leave them out"
        )
    arguments = template_arguments(template_arg)
    source = chat_model(model, results)
    recipe = Recipe(
        model=source.name,
        revision=source.revision,
        licence=source.licence,
        count=count,
        system=told(system, domain),
        sampling=Sampling(temperature, top_p, max_instruction_tokens, seed),
        mode=mode,
        answer_tokens=max_answer_tokens,
        preset=filter,
        batch_size=batch_size,
        precision=precision,
        encoder=encoder,
        pooling=pooling,
        prompt=prompt,
        judge=judge,
        base=base,
        reward=reward,
        language=language,
        turns=turns,
        template_args=arguments,
    )
    missing = missing_tools(list(asks_for(filter)), bool(judge), bool(base), bool(reward))
    if missing:
        raise UsageError(f"the filter {filter} ({PRESETS[filter].text}) needs {missing}: give that too")
    place = device_of(device)
    opened = elsewhere(engine, source, out / "stages" / "engine.jsonl")
    generator = load_generator(source.path, precision, place, arguments, opened)
    recipe = replace(recipe, engine=by_engine(generator, quiet=as_json))
    tools = tools_for(recipe, generator, source.path, results, place, trust_remote_code)
    with Bars() as bars:
        made = make(recipe, generator, tools, out, bars, shard)
        with alone(out / "stages", bars):
            files = export(recipe, made, out)
    spoken = of_languages(made.languages, language or SPOKEN.get(domain, ""))
    unfinished = made.dropped["unfinished thought"]
    if as_json:
        said = {
            "files": list(map(str, files)),
            "languages": made.languages,
            "told": spoken,
            "yields": made.yields,
            "unfinished_thoughts": unfinished,
            "engine": recipe.engine,
        }
        print(json.dumps(said, ensure_ascii=False))
        return
    print(spoken)
    for path in files:
        print(path)
    print(", ".join(f"{name} {number}" for name, number in made.yields.items()))
    if unfinished:
        print(
            f"unfinished thoughts {unfinished}: raise --max-answer-tokens, or turn thinking off by --template-arg"
        )


def answer(
    questions: Annotated[Path, typer.Argument(help="AlpacaEval's form: a list with instruction; or jsonl.")],
    out: Annotated[Path, typer.Option(help="The list with output and generator.")] = Path("outputs.json"),
    model: Model = "",
    max_tokens: Annotated[int, typer.Option(help="Longer answers are cut.")] = 2048,
    template_arg: TemplateArg = None,
    batch_size: Batch = 32,
    engine: Engine = "",
    precision: Precision = "auto",
    device: Device = "auto",
    as_json: Json = False,
    results: Results = Path("results"),
) -> None:
    """Answer questions greedily, for AlpacaEval: harness magpie answer questions.json --model my-student"""
    from harness.data import files
    from harness.engines import decides
    from harness_magpie.generator import answers, load_generator
    from harness_magpie.preparation import asked
    from harness_magpie.sampling import refuse_sizes

    quiet_libraries()
    refuse_sizes(max_tokens=max_tokens, batch_size=batch_size)
    outside(out, questions)
    rows = list(files.rows(questions))
    texts = asked(rows)
    if not texts:
        raise UsageError(f"{questions} holds no question: give rows with instruction, turns or text")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out} is a folder, or lies in none: name a file in a folder that is there")
    arguments = template_arguments(template_arg)
    source = chat_model(model, results)
    keep = results / "stages" / "engines" / f"{digest([source.name, decides(engine)])[:16]}.jsonl"
    opened = elsewhere(engine, source, keep)
    generator = load_generator(source.path, precision, device_of(device), arguments, opened)
    by = by_engine(generator, quiet=as_json)
    found: list[dict[str, Any]] = []
    with Bars() as bars:
        for batch in answers(
            generator,
            texts,
            max_tokens,
            batch_size=batch_size,
            tell=lambda done, total, **more: bars("answers", done, total, **more),
        ):
            found += batch
    written = [
        {
            **row,
            "instruction": text,
            "output": one["answer"],
            "generator": source.name,
            **({"reasoning_content": one["reasoning_content"]} if "reasoning_content" in one else {}),
        }
        for row, text, one in zip(rows, texts, found, strict=True)
    ]
    out.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    keep.unlink(missing_ok=True)
    unfinished = sum(one.get("unfinished_thought", False) for one in found)
    ended = sum(one["finished"] for one in found)
    if as_json:
        said = {
            "file": str(out),
            "answers": len(written),
            "finished": ended,
            "unfinished_thoughts": unfinished,
            "engine": by,
        }
        print(json.dumps(said))
        return
    thought = f", {unfinished} ended within a thought (raise --max-tokens)" if unfinished else ""
    print(f"{out}: {len(written)} answers, {ended} came to their end{thought}")


def template(
    model: Model = "",
    system: Annotated[str, typer.Option(help="A system message instead of the template's own.")] = "",
    template_arg: TemplateArg = None,
    as_json: Json = False,
    results: Results = Path("results"),
) -> None:
    """Show a model's pre-query template, its tokens, and what ends a turn."""
    from transformers import AutoTokenizer

    from harness_magpie.generator import template_prompt
    from harness_magpie.template import bare_template, pre_query_template, stops

    arguments = template_arguments(template_arg)
    folder = Path(chat_model(model, results).path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = pre_query_template(tokenizer, system or None, arguments)
    ids, words = stops(tokenizer, folder, arguments)
    bare, tokens = (
        bare_template(tokenizer, arguments),
        template_prompt(tokenizer, system or None, arguments=arguments),
    )
    ends = [*tokenizer.convert_ids_to_tokens(ids), *words]
    if as_json:
        print(
            json.dumps(
                {"template": before, "bare": bare, "tokens": tokens, "ended_by": ends}, ensure_ascii=False
            )
        )
        return
    print("template ", json.dumps(before, ensure_ascii=False))
    print("bare     ", json.dumps(bare, ensure_ascii=False))
    print("tokens   ", tokens)
    print(
        "ended by ",
        ", ".join(end if end.isprintable() else json.dumps(end, ensure_ascii=False) for end in ends),
    )


def presets(as_json: Json = False) -> None:
    """List the filters."""
    from dataclasses import asdict

    from harness_magpie.filters import PRESETS

    rules = {
        name: {k: v for k, v in asdict(preset).items() if k != "text" and v is not None and v is not False}
        for name, preset in PRESETS.items()
    }
    if as_json:
        print(
            json.dumps([{"name": name, "text": PRESETS[name].text, "rules": rules[name]} for name in PRESETS])
        )
        return
    for name, asked in rules.items():
        print(
            f"{name:8} {PRESETS[name].text}: {', '.join(f'{k} {v}' for k, v in asked.items()) or 'no rule'}"
        )


def tools(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (synthesize, answer, template, presets):
        app.command()(command)


def elsewhere(word: str, source: Source, keep: Path) -> Callable[[Any], Any] | None:
    """Return what opens the engine that --engine names, keeping what comes in `keep`; None for transformers."""
    from harness.engines import engine

    if not word:
        return None
    return lambda tokenizer: engine(word, source.name, source.path, tokenizer, keep=keep)


def by_engine(generator: Any, quiet: bool = False) -> str:
    """Say by which engine a generator writes, and return it with its model; "" for transformers."""
    from harness.engines import Engine as Elsewhere

    if not isinstance(generator.model, Elsewhere):
        return ""
    said = generator.model.told
    at = f" at {said['address']}, prompts as {said['prompts']}" if "address" in said else ""
    if not quiet:
        print(f"{said['engine']}: {said['model']}{at}", flush=True)
    return f"{said['engine']}: {said['model']}"


def told(system: str, domain: str) -> str | None:
    """Return the system message; UsageError for an unknown domain."""
    from harness_magpie.synthesis import DOMAINS

    if domain and domain not in DOMAINS:
        raise UsageError(f"--domain {domain} is not known: {nearest(domain, DOMAINS)}")
    return system or DOMAINS.get(domain)


def template_arguments(given: Sequence[str] | None) -> dict[str, Any]:
    """Return `name=value` words as arguments; a value that is JSON (false, 3, "x") is what it says, another a text."""
    found: dict[str, Any] = {}
    for word in given or ():
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--template-arg {word} names nothing: write enable_thinking=false")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = {"True": True, "False": False, "None": None}.get(value, value)
    return found


def known_language(code: str) -> None:
    """Refuse a language that is told by no code of ours."""
    if not code:
        return
    import py3langid

    known = [name for name, _ in py3langid.rank(".")]
    if code not in known:
        raise UsageError(f"--language {code} is no code that is told apart here: {nearest(code, known)}")


def of_languages(found: Counter[str], wanted: str) -> str:
    """Return how many finished instructions are in which language, and that none is in the one that was `wanted`."""
    told = ", ".join(f"{name} {count}" for name, count in found.most_common(8)) or "none"
    line = f"languages of {found.total()} instructions: {told}"
    if wanted and not found[wanted]:
        line += (
            f"; none is in {wanted}: this model does not follow the system message that asks for it, so take one "
            "that speaks the language"
        )
    return line


def missing_tools(tags: list[str], judge: bool, base: bool, reward: bool) -> str:
    """Return what a filter needs and was not given, in words."""
    needs = {
        "--judge": not judge and bool({"quality", "difficulty"} & set(tags)),
        "--reward": not reward and "reward" in tags,
        "--base": not base and "reward_difference" in tags,
    }
    return " and ".join(name for name, lacks in needs.items() if lacks)


def chat_model(model: str, results: Path) -> Source:
    """Return a model as a folder; "tiny" is a random one, "" the paper's small one."""
    from harness.data.sources import Source
    from harness_magpie import paper

    if model == "tiny":
        from harness_magpie.preparation import tiny_chat_model

        folder = stage(results / "stages", "magpie-tiny", {"tiny": 1}, tiny_chat_model)
        return Source("tiny", "folder", folder, "", licence="Apache-2.0")
    return fetched(model or paper().model, results)


def tools_for(
    recipe: Any, generator: Any, folder: Path, results: Path, device: str, trusted: bool = False
) -> Any:
    """Return the functions that tag rows, as the command line asks for them."""
    from harness_magpie.tagging import Tools

    tools = Tools(languages=languages)
    if recipe.encoder:
        from harness_magpie.neighbours import unit

        encoder = encoder_named(
            recipe.encoder,
            results,
            pooling=recipe.pooling,
            prompt=recipe.prompt,
            device=device,
            trust_remote_code=trusted,
        )
        tools.vectors = lambda texts: unit(encoder.encode(texts))
    if recipe.judge:
        from harness_magpie.generator import load_generator
        from harness_magpie.judging import ask_model

        asked = generator
        if recipe.judge != "self":
            asked = load_generator(chat_model(recipe.judge, results).path, recipe.precision, device)
        tools.judge = ask_model(asked, recipe.batch_size)
    if recipe.reward:
        from harness_magpie.rewards import reward_model

        tools.reward = reward_model(chat_model(recipe.reward, results).path, device)
    if recipe.base:
        from harness_magpie.rewards import log_likelihood, reward_differences

        scorers = [
            log_likelihood(f, recipe.precision, device)
            for f in (folder, chat_model(recipe.base, results).path)
        ]
        tools.reward_difference = lambda questions, given: reward_differences(questions, given, *scorers)
    return tools


def languages(texts: list[str]) -> list[str]:
    """Return the language of each text as a two-letter code."""
    import py3langid

    return [str(py3langid.classify(text)[0]) for text in texts]
