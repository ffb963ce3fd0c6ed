"""The peer of a sweep: Hydra's joblib launcher with plain mlflow calls, the same second of work a job.

python benchmarks/peers/sweep.py --multirun seed='range(0,20)' hydra/launcher=joblib hydra.launcher.n_jobs=2
"""

import hydra
import mlflow
from omegaconf import DictConfig

CONFIG = {"seed": 0, "seconds": 1.0, "size": 64, "store": ""}


@hydra.main(version_base="1.3", config_path=None, config_name="bench_sweep")
def main(cfg: DictConfig) -> float:
    from harness_pause.work import work

    mlflow.set_tracking_uri(cfg.store)
    mlflow.set_experiment("pause")
    with mlflow.start_run(run_name=f"seed {cfg.seed}"):
        mlflow.log_params({str(name): cfg[name] for name in cfg})
        score = work(
            cfg.seed, cfg.seconds, cfg.size, lambda step, loss: mlflow.log_metric("loss", loss, step=step)
        )
        mlflow.log_metric("score", score)
    return score


if __name__ == "__main__":
    import sys

    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="bench_sweep", node=CONFIG)
    # Opened once before the jobs: several that make one fresh store at once break each other's tables.
    mlflow.set_tracking_uri(next(word.partition("=")[2] for word in sys.argv if word.startswith("store=")))
    mlflow.set_experiment("pause")
    main()
