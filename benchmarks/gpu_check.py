"""What ten minutes of a GPU are asked: `python -m benchmarks.gpu_check`, or `make gpu-check`.

Each part runs in a process of its own with a budget of seconds, is printed as it ends and kept in
`results/gpu-check.json`; the same command goes on with the parts that are not there yet, for the same device and code.
A part whose libraries are missing here is skipped by name. Weights are random and texts come with Python, so nothing
is fetched. `--wheels FOLDER` adds wheels that were brought along. **Not run on a GPU yet: none was at hand.** On the
CPU, `--device cpu --toy` runs the same parts small, where a compiled kernel is replaced by the same formula.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path("results/gpu-check.json")
ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
HARNESS = ("torch", "transformers", "accelerate", "pluggy", "hydra", "omegaconf", "typer", "rich", "filelock", "psutil",
           "pandas", "pyarrow", "scipy", "safetensors")  # fmt: skip
OWN = {"lora": ("peft",), "iclm": ("faiss",), "simcse": ("sentence_transformers",), "rdass": ("kiwipiepy",)}
SMALL = {  # one sweep of each paper at budget=small: words after the methods; less where minutes ask for it
    "alibi": ("alibi", "sinusoidal", "task.steps=200"),
    "iclm": ("in_context", "random", "task.steps=100"),
    "longskywork": ("cip_synl", "concatenate"),
    "lora": ("lora_r8", "full", "data.train=builtin:python", "task.steps=100", "task.base_steps=200"),
    "magpie": ("magpie", "self_instruct"),
    "rdass": ("rdass", "reference_only"),
    "score": ("score", "single_turn_rl", "task.steps=20"),
    "simcse": ("unsupervised", "untuned", "task.steps=100"),
}
LACKS = {  # what a small run reads beside the libraries, and no package of 60 MiB holds
    "magpie": "the weights of SmolLM2-135M-Instruct (98 MB): its smoke run, on random weights, is in contract:magpie",
    "rdass": "people's judgments of summaries (data.judgments): its smoke run is in contract:rdass",
    "simcse": "an encoder (model=) and sentence pairs with scores: its smoke run is in contract:simcse",
}


@dataclass(frozen=True)
class Part:
    """One question: its name, what it imports, the seconds it may take, and what asks it on `(device, toy)`."""

    name: str
    needs: tuple[str, ...]
    seconds: int
    ask: Callable[[str, bool], dict[str, Any]]
    lacks: str = ""


def parts() -> list[Part]:
    """Return every part, the quick ones that need least first: ten minutes in all."""
    papers = [path.name for path in PLUGINS]
    return [
        Part("machine", ("torch",), 30, machine),
        Part("bf16", ("torch",), 30, bf16),
        Part("flex", ("torch", "transformers", "pluggy"), 120, flex),
        Part("speed", ("torch", "transformers", "pluggy"), 60, speed),
        *(
            Part(f"contract:{name}", (*HARNESS, *OWN.get(name, ())), 60, functools.partial(contract, name))
            for name in papers
        ),
        *(
            Part(
                f"small:{name}",
                (*HARNESS, *OWN.get(name, ())),
                60,
                functools.partial(small, name),
                LACKS.get(name, ""),
            )
            for name in papers
        ),
    ]


def machine(device: str, toy: bool) -> dict[str, Any]:
    """Say what the device is and which libraries are here."""
    import torch

    found: dict[str, Any] = {"torch": torch.__version__, "python": sys.version.split()[0], "device": device}
    if device == "cuda":
        about = torch.cuda.get_device_properties(0)
        found |= {
            "device": about.name, "capability": f"{about.major}.{about.minor}", "bytes": about.total_memory,
            "cuda": torch.version.cuda, "bf16": torch.cuda.is_bf16_supported(),
        }  # fmt: skip
    return found | {"missing": missing((*HARNESS, *(name for own in OWN.values() for name in own)))}


def bf16(device: str, toy: bool) -> dict[str, Any]:
    """Time a product of matrices in float32 and bfloat16, and say how far bfloat16's numbers are off."""
    import torch

    side = 256 if toy else 8192
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, y = a.to(dtype), b.to(dtype)
        seconds = timed(functools.partial(torch.matmul, x, y), device, 2 if toy else 20)
        rates[str(dtype).removeprefix("torch.")] = 2 * side**3 / seconds
    off = (a.bfloat16() @ b.bfloat16()).float() - a @ b
    return {"flops_per_second": rates, "relative_error": float(off.norm() / (a @ b).norm())}


def flex(device: str, toy: bool) -> dict[str, Any]:
    """Train ALiBi by compiled FlexAttention, without a matrix of biases, beside the bias matrix and beside sinusoids.

    The two ways to ALiBi must give one loss. On a CPU FlexAttention has no backward kernel, and nothing is compiled.
    """
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    from transformers import AttentionMaskInterface
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    sys.path.insert(0, str(ROOT / "plugins/alibi"))
    import harness_alibi.positions  # noqa: F401  (makes position="alibi" known to the decoder)
    from harness_alibi.bias import slopes

    sizes = sized(toy)
    length, rows = (32, 2) if toy else (2048, 16)
    attend = flex_attention if device == "cpu" else torch.compile(flex_attention)
    steep = slopes(sizes["heads"], torch.device(device))
    causal = create_block_mask(lambda b, h, q, k: q >= k, None, None, length, length, device=device)

    def alibi(module: Any, q: Any, k: Any, v: Any, mask: Any, scaling: float, **_: Any) -> tuple[Any, None]:
        def score(value: Any, b: Any, h: Any, i: Any, j: Any) -> Any:
            return value - steep[h] * (i - j)

        return attend(q, k, v, score_mod=score, block_mask=causal, scale=scaling).transpose(1, 2), None

    ALL_ATTENTION_FUNCTIONS.register("alibi_flex", alibi)
    AttentionMaskInterface.register("alibi_flex", lambda *_, **__: None)
    batch = torch.randint(sizes["vocabulary"], (rows, length + 1), device=device)
    found: dict[str, Any] = {}
    for name, kind in (("sinusoidal", "sinusoidal"), ("matrix", "alibi"), ("flex", "none")):
        model = decoder(kind, length, sizes).to(device)
        if name == "flex":
            model.config._attn_implementation = "alibi_flex"
        learns = device == "cuda" or name != "flex"
        step, losses = training(model, batch, device, learns)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = timed(step, device, 2 if toy else 10)
        peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
        found[name] = {"seconds": seconds, "first_loss": float(losses[0]), "peak_bytes": peak}
    apart = abs(found["flex"]["first_loss"] - found["matrix"]["first_loss"])
    ratio = found["flex"]["seconds"] / found["sinusoidal"]["seconds"]
    limit = 1e-5 if device == "cpu" else 2e-3  # bfloat16's rounding
    return {**found, "losses_apart": apart, "flex_over_sinusoidal": ratio, "holds": apart < limit}


def speed(device: str, toy: bool) -> dict[str, Any]:
    """Return tokens a second of a decoder's training step, and the share of the ceiling (MFU) that it reaches."""
    import torch

    from benchmarks import gpu

    sizes = sized(toy)
    length, rows = (32, 2) if toy else (512, 64)
    batch = torch.randint(sizes["vocabulary"], (rows, length + 1), device=device)
    model = decoder("rotary", length, sizes).to(device)
    step, _ = training(model, batch, device)
    tokens = rows * length / timed(step, device, 2 if toy else 10)
    weights = sum(parameter.numel() for parameter in model.parameters())
    used = tokens * gpu.flops(weights, sizes["layers"], sizes["width"], length, 1)
    x = torch.randn(256 if toy else 8192, 256 if toy else 8192, device=device)
    x = x.bfloat16() if device == "cuda" else x
    most = 2 * len(x) ** 3 / timed(lambda: x @ x, device, 2 if toy else 30)
    return {"parameters": weights, "tokens_per_second": tokens, "mfu": used / most, "ceiling_flops": most}


def contract(name: str, device: str, toy: bool) -> dict[str, Any]:
    """Make the smoke runs of a paper's first claim on the CPU and on the device, and hold their losses together."""
    from harness.contract.checks import leading
    from harness.papers.plugins import load

    methods = ",".join(f"{name}/{method}" for method in leading(load(name).paper))
    with tempfile.TemporaryDirectory() as folder:
        words = [f"method={methods}", "budget=smoke", "precision=float32", "tuned=false"]
        there = {
            kind: swept([*words, f"device={kind}", f"results={folder}/{kind}"])
            for kind in dict.fromkeys(("cpu", device))
        }
    here, run = there["cpu"], there[device]
    apart = max(
        (abs(run["losses"][key] - here["losses"][key]) for key in here["losses"] if key in run["losses"]),
        default=0.0,
    )
    holds = run["failed"] == [] and set(run["losses"]) == set(here["losses"]) and apart < 1e-2
    return {
        "methods": methods,
        "failed": run["failed"],
        "points": len(run["losses"]),
        "losses_apart": apart,
        "holds": holds,
    }


def small(name: str, device: str, toy: bool) -> dict[str, Any]:
    """Run one sweep of a paper at budget=small (at smoke where it is a toy), and return what it took and found."""
    own, other, *words = SMALL[name]
    budget = ["budget=smoke", "tuned=false"] if toy else ["budget=small", "tuned=false", *words]
    with tempfile.TemporaryDirectory() as folder:
        found = swept(
            [f"method={name}/{own},{name}/{other}", *budget, f"device={device}", f"results={folder}"]
        )
    return {**found, "losses": len(found["losses"]), "words": words, "holds": not found["failed"]}


def swept(words: Sequence[str]) -> dict[str, Any]:
    """Run a sweep and return its metrics, losses and failures; the runs are in processes of their own."""
    from harness.runs.results import read_curves, read_result
    from harness.sweeps.sweep import swept as sweep

    began = time.monotonic()
    done = sweep(["-m", *words, "tracking=off"])
    found: dict[str, Any] = {"seconds": 0.0, "metrics": {}, "measured": {}, "failed": [], "losses": {}}
    for line in done.runs:
        result = read_result(Path(line["folder"]))
        method = result.config["name"] if result else line["title"]
        if result is None or result.error:
            found["failed"].append(
                f"{method}: {result.error['message'] if result and result.error else 'no result'}"
            )
            continue
        found["metrics"][method], found["measured"][method] = result.metrics, result.measured
        for row in read_curves(Path(line["folder"])):
            losses = {key: value for key, value in row.items() if key.rpartition("/")[2] == "loss"}
            found["losses"] |= {f"{method} {key} {row['step']}": value for key, value in losses.items()}
    found["seconds"] = time.monotonic() - began
    if len(done.runs) < 1:
        found["failed"].append("no run began")
    return found


def decoder(kind: str, length: int, sizes: dict[str, int]) -> Any:
    """Return an untrained decoder with positions of a kind; the same weights each time."""
    import torch

    from harness.nn.config import DecoderConfig
    from harness.nn.decoder import Decoder

    torch.manual_seed(0)
    named = {name: sizes[name] for name in ("width", "layers", "heads")}
    wide = 4 * sizes["width"]
    config = DecoderConfig(
        vocab_size=sizes["vocabulary"], position=kind, length=length, feedforward=wide, **named
    )
    return Decoder(config).train()


def training(
    model: Any, batch: Any, device: str, learns: bool = True
) -> tuple[Callable[[], None], list[Any]]:
    """Return what does a step on a batch, in bfloat16 on a GPU, and the losses that it leaves."""
    import torch

    optimiser, losses = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True), []

    def step() -> None:
        with torch.set_grad_enabled(learns), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits = model(input_ids=batch[:, :-1], use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())
        losses.append(loss.detach())
        if learns:
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()

    return step, losses


def sized(toy: bool) -> dict[str, int]:
    """Return a decoder's sizes: of about 250 M parameters, or a toy's."""
    if toy:
        return {"width": 64, "layers": 2, "heads": 2, "vocabulary": 64}
    return {"width": 1024, "layers": 16, "heads": 16, "vocabulary": 32_000}


def timed(act: Callable[[], Any], device: str, times: int) -> float:
    """Return the seconds that one call takes, warmed up, all of the device's work done."""
    import torch

    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(2):
        act()
    wait()
    began = time.perf_counter()
    for _ in range(times):
        act()
    wait()
    return (time.perf_counter() - began) / times


def missing(names: Sequence[str]) -> list[str]:
    """Return which of these modules cannot be imported here."""
    return [name for name in dict.fromkeys(names) if importlib.util.find_spec(name) is None]


def code() -> str:
    """Return what tells this code from another: the commit where git knows it, else the newest change of a file."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    newest = max(path.stat().st_mtime for path in ROOT.glob("*/**/*.py") if ".venv" not in path.parts)
    return asked.stdout.strip() or str(newest)


def main(words: Sequence[str] | None = None) -> int:
    """Ask the parts that are not answered yet; return 1 where one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument(
        "--parts", default="", help="names with commas between, or their beginnings (contract)"
    )
    parser.add_argument("--toy", action="store_true", help="small sizes, to try the command itself")
    parser.add_argument("--minutes", type=float, default=10.0, help="when no further part begins")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels for what this Python lacks")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--ask", help=argparse.SUPPRESS)  # in a part's own process
    asked = parser.parse_args(words)
    every = {part.name: part for part in parts()}
    if asked.ask:
        print(json.dumps(every[asked.ask].ask(asked.device, asked.toy)))
        return 0
    wanted = [name for name in asked.parts.split(",") if name]
    unknown = [word for word in wanted if not any(name.startswith(word) for name in every)]
    if unknown:
        print(f"gpu-check: no part begins with {unknown[0]!r}: {', '.join(every)}", file=sys.stderr)
        return 2
    around = brought(asked.wheels)
    about = {"device": asked.device, "toy": asked.toy, "code": code()}
    kept = json.loads(asked.results.read_text(encoding="utf-8")) if asked.results.exists() else {}
    found: dict[str, Any] = kept["parts"] if kept.get("about") == about else {}
    until = time.monotonic() + 60 * asked.minutes
    for part in every.values():
        if wanted and not any(part.name.startswith(word) for word in wanted):
            continue
        if found.get(part.name, {}).get("outcome") == "ok":
            tell(part.name, "ok", "asked before")
            continue
        left = until - time.monotonic()
        if left > 5:
            seconds = part.seconds * (5 if asked.toy else 1)  # a toy is tried on a machine with other work
            found[part.name] = answer(part, asked, around, min(seconds, left))
        else:
            late = f"{asked.minutes:g} minutes are over: repeat the command"
            found[part.name] = {"outcome": "not asked", "why": late}
        asked.results.parent.mkdir(parents=True, exist_ok=True)
        asked.results.write_text(
            json.dumps({"about": about, "parts": found}, indent=1) + "\n", encoding="utf-8"
        )
        one = found[part.name]
        tell(part.name, one["outcome"], one.get("why") or json.dumps(one.get("found", {}))[:400])
    return int(any(one["outcome"] == "failed" for one in found.values()))


def answer(part: Part, asked: argparse.Namespace, around: dict[str, str], seconds: float) -> dict[str, Any]:
    """Ask a part in a process of its own; return how that went and what it found."""
    lacking = missing_there(part.needs, around)
    lacks = ", ".join(lacking) or ("" if asked.toy and not part.name.startswith("small:") else part.lacks)
    if lacks:
        return {"outcome": "skipped", "why": f"lacks {lacks}"}
    words = [sys.executable, "-m", "benchmarks.gpu_check", "--ask", part.name, "--device", asked.device]
    began = time.monotonic()
    try:
        done = subprocess.run(
            [*words, *(["--toy"] if asked.toy else [])],
            cwd=ROOT,
            env=around,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"outcome": "failed", "why": f"took more than its {seconds:.0f} seconds", "seconds": seconds}
    took = {"seconds": round(time.monotonic() - began, 1)}
    if done.returncode:
        return {
            "outcome": "failed",
            "why": (done.stderr.strip().splitlines() or ["no word"])[-1][:400],
            **took,
        }
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return {"outcome": "ok" if found.get("holds", True) else "failed", "found": found, **took}


def brought(wheels: Path | None) -> dict[str, str]:
    """Return the environment of the parts: this one, and what is in the wheels that were brought along.

    A wheel is unpacked beside the results, and only where this Python has no such module: nothing is installed.
    """
    around = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    if wheels is None:
        return around
    to = (RESULTS.parent / "gpu-check-wheels").resolve()
    files = sorted(map(str, wheels.glob("*.whl")))
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--upgrade",
        "--target",
    ]
    subprocess.run([*install, str(to), *files], check=True)
    # Behind this Python's own packages: its torch is the one that knows the device.
    bridge = to / "sitecustomize.py"
    bridge.write_text(f"import site\nsite.addsitedir({str(to)!r})\n", encoding="utf-8")
    around["PYTHONPATH"] = os.pathsep.join(filter(None, [str(to / "first"), around.get("PYTHONPATH", "")]))
    (to / "first").mkdir(exist_ok=True)
    bridge.replace(to / "first" / "sitecustomize.py")
    return around


def missing_there(names: Sequence[str], around: dict[str, str]) -> list[str]:
    """Return which modules cannot be imported in the parts' environment."""
    program = "import sys, benchmarks.gpu_check as g; print(*g.missing(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, *names], cwd=ROOT, env=around, capture_output=True, text=True
    )
    return done.stdout.split()


def tell(name: str, outcome: str, what: str) -> None:
    """Print a part's line as it ends."""
    print(f"{name:24} {outcome:10} {what}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
