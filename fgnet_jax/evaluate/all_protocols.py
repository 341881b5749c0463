"""All protocols by one command: trains every run that they need, one after the other, and evaluates.

    OUTPUT/runs/NAME                                    the runs, as `fgnet_jax.train` leaves them
    OUTPUT/within_CORPUS, cross_A_to_B, efficiency_CORPUS    reports
    OUTPUT/summary.md                                   all tables

What is finished is not done again: the same command goes on where it was stopped.
"""

import dataclasses
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fgnet_jax.data.folds import NUM_FOLDS
from fgnet_jax.data.synthetic.builders import make_config
from fgnet_jax.evaluate import protocols, report, report_folder
from fgnet_jax.evaluate.protocols import SAMPLES, EvalOptions
from fgnet_jax.evaluate.report import Report
from fgnet_jax.evaluate.runs import EvaluatedRun, open_run
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import f1_table
from fgnet_jax.runtime.files import write_text
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import loop
from fgnet_jax.train.config import Config, ConfigError

CORPORA = ("synthetic_bp4d", "synthetic_disfa")
EFFICIENCY = CORPORA[0]
"""The corpus whose data-efficiency curve is drawn, on fold 0."""


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """What is trained, and where.

    Attributes:
      configs: One configuration a run; its name is the run's.
      runs: Folder of the runs.
      data_dir: Folder of the corpora.
    """

    configs: tuple[Config, ...]
    runs: Path
    data_dir: Path


def run(words: str, output: Path, data_dir: Path, how: EvalOptions) -> str:
    """Trains and evaluates everything; returns the summary, in Markdown.

    Args:
      words: A configuration file with arguments, as `--config` takes them: `configs/synthetic.py:steps=50`. The file
        must take corpus, fold, samples and updates.
      output: Folder of runs and reports.
      data_dir: Folder of the corpora.
      how: How answers are measured.

    Raises:
      ConfigError: for a file that is not there or takes other arguments.
    """
    begun = time.monotonic()
    plan = make_plan(words, output, data_dir)
    for number, config in enumerate(plan.configs, 1):
        minutes = (time.monotonic() - begun) / 60
        print(f"\n[{number} of {len(plan.configs)} runs, {minutes:.1f} min] {config.name}", flush=True)
        train_one(config, plan.runs / config.name)
    parts = []
    for name, evaluate in _evaluations(plan, how):
        made = evaluate(EvalData(data_dir, output / name / "predictions", batch_size=32, threads=2), output / name)
        parts.append(_summary(name, made))
        print(f"\n[{(time.monotonic() - begun) / 60:.1f} min] {output / name}\n\n{report.as_text(made)}", flush=True)
    head = "# All protocols on synthetic faces\n\nDrawn faces: these figures say nothing about people.\n\n"
    text = head + "\n\n".join(parts) + "\n"
    write_text(output / "summary.md", text)
    return f"\n{output}/summary.md after {(time.monotonic() - begun) / 60:.1f} minutes"


def make_plan(words: str, output: Path, data_dir: Path) -> TrainingPlan:
    """Every run: three folds of each corpus, and few samples of one of them.

    A run on few samples whose epochs are as long as with all makes as many updates either way, and is trained once.
    """
    make = _load(words)
    configs = [make(corpus=corpus, fold=fold) for corpus in CORPORA for fold in range(NUM_FOLDS)]
    largest = _training_frames(configs[0])
    for samples in (n for n in SAMPLES if 0 < n < largest):
        published = make(corpus=EFFICIENCY, fold=0, samples=samples)
        if samples < published.train.batch_size:
            continue
        configs.append(published)
        if samples // published.train.batch_size < published.train.steps_per_epoch:
            configs.append(make(corpus=EFFICIENCY, fold=0, samples=samples, updates="equal"))
    for config in configs:
        config.data.dir = str(data_dir)
    return TrainingPlan(tuple(configs), output / "runs", data_dir)


def train_one(config: Config, workdir: Path) -> None:
    """Trains a run to its end, or goes on with it; one that has its results is left alone."""
    config_lib.check_same(config, workdir)
    if (workdir / "results.json").exists():
        print(f"{workdir} is finished", flush=True)
    else:
        loop.train(config, workdir)


def _load(words: str) -> Callable[..., Config]:
    """A configuration file's `get_config`, with arguments by name beside those of the command."""
    file, _, arguments = words.partition(":")
    if not Path(file).is_file():
        raise ConfigError(f"--config {file}: there is no such file")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def make(**values: Any) -> Config:
        more = ",".join(f"{key}={value}" for key, value in values.items())
        try:
            return module.get_config(",".join(filter(None, (arguments, more))))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{file}: {error}") from error

    return make


def _training_frames(config: Config) -> int:
    """About how many frames a run has to train on, before its corpus is drawn."""
    return int(config.data.frames * (NUM_FOLDS - 1) / NUM_FOLDS * (1 - config.data.held_out))


def _evaluations(plan: TrainingPlan, how: EvalOptions) -> Iterator[tuple[str, Callable[[EvalData, Path], Report]]]:
    """Name and doing of every report."""
    names = {c.data.corpus: _prepared(c) for c in plan.configs}
    runs = [open_run(plan.runs / config.name) for config in plan.configs]
    of = {corpus: [r for r, c in zip(runs, plan.configs, strict=True) if c.data.corpus == corpus] for corpus in CORPORA}
    for corpus in CORPORA:
        yield f"within_{corpus}", _written(protocols.within, how, of[corpus], names[corpus])
    for source, target in (CORPORA, CORPORA[::-1]):
        yield f"cross_{source}_to_{target}", _written(protocols.cross, how, of[source], source, names[target])
    fold_0 = [one for one in of[EFFICIENCY] if one.fold == 0]
    if len(fold_0) > 1:
        yield f"efficiency_{EFFICIENCY}", _curve(how, fold_0, names[EFFICIENCY])


def _written(function: Callable[..., Any], how: EvalOptions, *words: Any) -> Callable[[EvalData, Path], Report]:
    def evaluate(setup: EvalData, folder: Path) -> Report:
        made, tested = function(setup, how, *words)
        return report_folder.write(made, setup, tested, folder)

    return evaluate


def _curve(how: EvalOptions, runs: Sequence[EvaluatedRun], corpus: str) -> Callable[[EvalData, Path], Report]:
    def evaluate(setup: EvalData, folder: Path) -> Report:
        made, tested, curves = protocols.efficiency(setup, how, runs, corpus)
        return report_folder.write(report_folder.draw_curve(made, curves, folder), setup, tested, folder)

    return evaluate


def _prepared(config: Config) -> str:
    """A synthetic corpus as it lies on disk: by its configuration, since there may be several in the folder."""
    return f"{config.data.corpus}/{make_config(config.data.frames, config.seed).name}"


def _summary(name: str, made: Report) -> str:
    return f"## [{made.title}]({name}/report.md)\n\n{f1_table.as_markdown(report.f1_cells(made))}"
