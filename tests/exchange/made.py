"""Made results of others: files as PEFT's comparison and Every Eval Ever write them."""

import json
from pathlib import Path

ITEMS = 1319


def peft(folder: Path, method: str, right: float | None, memory: float = 2e10, **changed) -> Path:
    """Write one run of PEFT's comparison, with so many of 1,319 problems right; None leaves no metrics."""
    last = [] if right is None else [{"step": 5000, "test accuracy": right / ITEMS, "forgetting": 0.1}]
    record = {
        "run_info": {
            "experiment_name": f"{method}/llama-default",
            "total_time": 3600.0,
            "error_msg": changed.get("error", ""),
            "train_config": {"model_id": "made/llama", "seed": changed.get("seed", 0), "max_steps": 5000},
        },
        "train_info": {
            "status": changed.get("status", "success"),
            "accelerator_memory_max": memory,
            "metrics": last,
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{method}-{changed.get('seed', 0)}.json".replace("/", "-")
    path.write_text(json.dumps(record), "utf-8")
    return path


def evaluation(folder: Path, model: str, score: float, **uncertainty) -> Path:
    """Write one record of Every Eval Ever."""
    record = {
        "schema_version": "0.2.1",
        "evaluation_id": f"made/{model}/0",
        "model_info": {"name": model, "id": f"made/{model}"},
        "evaluation_results": [
            {
                "evaluation_name": "made-qa",
                "metric_config": {
                    "lower_is_better": False,
                    "score_type": "continuous",
                    "min_score": 0,
                    "max_score": 1,
                },
                "score_details": {"score": score, "uncertainty": uncertainty},
            }
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model}.json"
    path.write_text(json.dumps(record), "utf-8")
    return path


def table(path: Path, rows: list[tuple], header: str = "method,seed,item,value") -> Path:
    """Write a plain table of results."""
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", "utf-8")
    return path
