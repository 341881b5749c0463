"""All protocols by one command: train every run that they need, one after the other, and evaluate them.

    OUTPUT/runs/NAME                                         the runs' workdirs, as `fgnet_jax.train` writes them
    OUTPUT/within_CORPUS, cross_A_to_B, efficiency_CORPUS    reports
    OUTPUT/summary.md                                        all tables

What is finished is not done again: the same command resumes where it was stopped.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fgnet_jax.data.folds import NUM_FOLDS
from fgnet_jax.data.synthetic.builders import make_config
from fgnet_jax.evaluate import evaluation, report_folder, request
from fgnet_jax.evaluate import report as report_lib
from fgnet_jax.evaluate.efficiency import SAMPLES
from fgnet_jax.evaluate.request import EvalOptions, Request
from fgnet_jax.evaluate.runs import open_run
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import f1_table
from fgnet_jax.runtime.files import write_text
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import defaults, loop, workdirs
from fgnet_jax.train.config import Config, ConfigError

CORPORA = ("synthetic_bp4d", "synthetic_disfa")
"""The corpora that runs are trained and tested on."""

EFFICIENCY = CORPORA[0]
"""The corpus of the data-efficiency curve, on fold 0."""


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """The runs to train.

    Attributes:
      configs: A configuration per run; its name is the run's.
      runs: Folder of the runs.
      data_dir: Folder of the corpora.
    """

    configs: tuple[Config, ...]
    runs: Path
    data_dir: Path


def run(plan: TrainingPlan, *, output: Path, options: EvalOptions) -> str:
    """Train and evaluate everything; return a line for the terminal.

    Args:
      plan: The runs to train (`make_plan`).
      output: Folder of runs and reports.
      options: How predictions are measured.
    """
    begun = time.monotonic()

    def minutes() -> str:
        return f"{(time.monotonic() - begun) / 60:.1f} min"

    for number, config in enumerate(plan.configs, 1):
        print(f"\n[{number} of {len(plan.configs)} runs, {minutes()}] {config.name}", flush=True)
        train_run(config, plan.runs / config.name)
    sections = []
    for name, spec in _requests(plan, options):
        folder = output / name
        data = EvalData(plan.data_dir, folder / report_folder.PREDICTIONS, batch_size=32, threads=2)
        report = report_folder.write(evaluation.by_networks(data, spec), data=data, folder=folder)
        sections.append(f"## [{report.title}]({name}/report.md)\n\n{f1_table.as_markdown(report_lib.f1_cells(report))}")
        print(f"\n[{minutes()}] {folder}\n\n{report_lib.as_text(report)}", flush=True)
    head = "# All protocols on synthetic faces\n\nRendered faces: these metrics say nothing about real people.\n\n"
    write_text(output / "summary.md", head + "\n\n".join(sections) + "\n")
    return f"\n{output}/summary.md after {minutes()}"


def make_plan(config_text: str, output: Path, data_dir: Path) -> TrainingPlan:
    """Plan every run: three folds of each corpus, and few samples of one of them.

    A run on few samples whose epochs are as long as with all makes as many updates either way, and is trained once.

    Args:
      config_text: A configuration with arguments, as `--config` takes them: `synthetic:steps=50`. It must take corpus,
        fold, samples and updates.
      output: Folder of runs and reports.
      data_dir: Folder of the corpora.

    Raises:
      ConfigError: The file does not exist, or takes other arguments.
    """
    make = _load(config_text)
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


def train_run(config: Config, workdir: Path) -> None:
    """Train a run to its end, resuming it where it was stopped; do nothing for one that has its results."""
    config_lib.check_same(config, workdir)
    if workdirs.read_json(workdir / "results.json") is not None:
        print(f"{workdir} is finished", flush=True)
    else:
        loop.train(config, workdir)


def _load(config_text: str) -> Callable[..., Config]:
    """Load a configuration's `get_config`, to be called with arguments by name beside those of the command."""
    file, _, arguments = config_text.partition(":")
    module = defaults.load_config_file(file)

    def make(**values: str | int) -> Config:
        further = ",".join(f"{key}={value}" for key, value in values.items())
        try:
            return module.get_config(",".join(filter(None, (arguments, further))))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{file}: {error}") from error

    return make


def _training_frames(config: Config) -> int:
    """Estimate how many frames a run has to train on, before its corpus is rendered."""
    return int(config.data.frames * (NUM_FOLDS - 1) / NUM_FOLDS * (1 - config.data.held_out))


def _requests(plan: TrainingPlan, options: EvalOptions) -> Iterator[tuple[str, Request]]:
    """Yield the name of every report, and the evaluation that it is of."""
    prepared = {config.data.corpus: _prepared_name(config) for config in plan.configs}
    runs = [open_run(plan.runs / config.name) for config in plan.configs]
    by_corpus = {
        corpus: tuple(run for run, config in zip(runs, plan.configs, strict=True) if config.data.corpus == corpus)
        for corpus in CORPORA
    }
    for corpus in CORPORA:
        full = tuple(run for run in by_corpus[corpus] if not run.trained_on.get("samples"))
        yield f"within_{corpus}", Request(request.WITHIN, full, prepared[corpus], options=options)
    for source, target in (CORPORA, CORPORA[::-1]):
        full = tuple(run for run in by_corpus[source] if not run.trained_on.get("samples"))
        spec = Request(request.CROSS, full, prepared[target], source=source, options=options)
        yield f"cross_{source}_to_{target}", spec
    fold_0 = tuple(run for run in by_corpus[EFFICIENCY] if run.fold == 0)
    if len(fold_0) > 1:
        yield (
            f"efficiency_{EFFICIENCY}",
            Request(request.EFFICIENCY, fold_0, prepared[EFFICIENCY], options=options),
        )


def _prepared_name(config: Config) -> str:
    """Return a synthetic corpus' name with its configuration, of which there may be several in the folder."""
    return f"{config.data.corpus}/{make_config(config.data.frames, config.seed).name}"
