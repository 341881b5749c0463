"""All protocols by one command: train every run that they need, one after the other, and evaluate them.

    OUTPUT/runs/NAME                                         the runs' workdirs, as `fgnet_jax.train` writes them
    OUTPUT/within_CORPUS, cross_A_to_B, efficiency_CORPUS    reports
    OUTPUT/summary.md                                        all tables

What is finished is not done again: the same command resumes where it was stopped, and several processes that start it
share the runs (`train.study`). With several seeds, the reports within and across corpora are those of studies.
"""

import dataclasses
import functools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fgnet_jax.aus import SYNTHETIC
from fgnet_jax.data import folds
from fgnet_jax.data.synthetic.builders import make_config
from fgnet_jax.evaluate import evaluation, report_folder, request
from fgnet_jax.evaluate import report as report_lib
from fgnet_jax.evaluate.efficiency import SAMPLES
from fgnet_jax.evaluate.request import EvalOptions, Request
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError, open_run
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import f1_table
from fgnet_jax.runtime import command_line, files
from fgnet_jax.train import command_line as train_command_line
from fgnet_jax.train import defaults, splits, study, study_arguments, study_plan
from fgnet_jax.train.config import Config, ConfigError
from fgnet_jax.train.study import Study

CORPORA = ("synthetic_bp4d", "synthetic_disfa")
"""The corpora of a configuration that takes a corpus as argument and is given none."""

DEFAULT = "synthetic"
"""The configuration where none is given."""

_LOCK = ".evaluate.lock"


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """The runs to train.

    Attributes:
      study: The runs on all samples, then those of the curve on few.
      data_dir: Folder of the corpora.
      corpora: The corpora, in the order of the configurations.
      curve: Names of the runs of the data-efficiency curve on fold 0 of the first corpus; empty without one.
    """

    study: Study
    data_dir: Path
    corpora: tuple[str, ...]
    curve: tuple[str, ...]

    @property
    def configs(self) -> tuple[Config, ...]:
        """The configuration of every run."""
        return tuple(self.study.configs.values())


def run(plan: TrainingPlan, *, output: Path, options: EvalOptions) -> str:
    """Train and evaluate everything; return a line for the terminal.

    Args:
      plan: The runs to train (`make_plan`).
      output: Folder of runs and reports.
      options: How predictions are measured.

    Raises:
      EvaluationError: A run's loss is not finite.
    """
    begun = time.monotonic()
    outcome = study.train(plan.study, functools.partial(print, flush=True))
    if outcome.diverged:
        raise EvaluationError(f"not evaluated, since the loss is not finite in {', '.join(outcome.diverged)}")
    waits = functools.partial(_say_waiting, output)
    with files.locked(output / _LOCK, wait=True, on_wait=waits):  # of several processes, one writes at a time
        sections = [_evaluate(plan, spec, output / name, begun) for name, spec in _requests(plan, options)]
        files.write_text(output / "summary.md", _head(plan) + "\n\n".join(sections) + "\n")
    return f"\n{output}/summary.md after {_minutes(begun)}"


def _say_waiting(output: Path, holder: str) -> None:
    command_line.status("evaluate", f"waiting for {holder}, which evaluates into {output}")


def _minutes(begun: float) -> str:
    return f"{(time.monotonic() - begun) / 60:.1f} min"


def _evaluate(plan: TrainingPlan, spec: Request, folder: Path, begun: float) -> str:
    """Evaluate, write and print a report; return its part of the summary."""
    first = plan.configs[0]
    size, threads = first.train.eval_batch_size, first.data.threads
    data = EvalData(plan.data_dir, folder / report_folder.PREDICTIONS, batch_size=size, threads=threads)
    report = report_folder.write(evaluation.by_networks(data, spec), data=data, folder=folder)
    print(f"\n[{_minutes(begun)}] {folder}\n\n{report_lib.as_text(report)}", flush=True)
    tables = [f1_table.as_markdown(report_lib.f1_cells(report))]
    tables += [f"{caption}:\n\n{f1_table.as_markdown(cells)}" for caption, (_, cells) in report.tables.items()]
    return f"## [{report.title}]({folder.name}/report.md)\n\n" + "\n\n".join(tables)


def _head(plan: TrainingPlan) -> str:
    if all(corpus.startswith(SYNTHETIC) for corpus in plan.corpora):
        return "# All protocols on synthetic faces\n\nRendered faces: these metrics say nothing about real people.\n\n"
    return f"# All protocols on {', '.join(plan.corpora)}\n\n"


def make_plan(config_texts: Sequence[str], output: Path, data_dir: Path | None) -> TrainingPlan:
    """Plan every run: all folds of each corpus with each seed, and few samples of the first corpus.

    A run on few samples whose epochs are as long as with all makes as many updates either way, and is trained once.

    Args:
      config_texts: Configurations with arguments, as `--config` takes them, one for each corpus: `disfa:seeds=3`. One
        of a synthetic corpus that takes a corpus and is given none (`synthetic:steps=50`) stands for both of these.
        There is a curve over samples where the first one takes samples and updates.
      output: Folder of runs and reports.
      data_dir: Folder of the corpora; None for that of the configurations, OUTPUT/data where all are synthetic.

    Raises:
      ConfigError: A file does not exist, a configuration takes no folds, or several are of one corpus.
    """
    texts = [text for given in config_texts for text in _of_each_corpus(given)]
    place_of_folds = [f"--config.data.dir={data_dir}"] if data_dir else []
    by_text = {
        text: [_load(single) for single in study_arguments.expanded(_with_folds(text), place_of_folds)]
        for text in texts
    }
    firsts = [configs[0] for configs in by_text.values()]
    corpora = [first.data.corpus for first in firsts]
    if len(set(corpora)) < len(corpora):
        raise ConfigError(f"--config: expected configurations of different corpora, got those of {', '.join(corpora)}")
    place = data_dir or _common_dir(firsts, output)
    full = [config for configs in by_text.values() for config in configs]
    few = _few_samples(texts[0], firsts[0], place)
    for config in (*full, *few):
        config.data.dir = str(place)
    first_run = [firsts[0].name] if few else []
    whole = Study.of([*full, *few], output / "runs")
    return TrainingPlan(whole, place, tuple(corpora), (*first_run, *(config.name for config in few)))


def _of_each_corpus(text: str) -> list[str]:
    """Return a configuration for each synthetic corpus, where it takes one, is given none and has one of these."""
    if any(item.startswith("corpus=") for item in text.partition(":")[2].split(",")):
        return [text]
    variants = [_with(text, corpus=corpus) for corpus in CORPORA]
    is_synthetic = all(map(_takes, variants)) and _load(_of_one_run(text)).data.corpus.startswith(SYNTHETIC)
    return variants if is_synthetic else [text]


def _of_one_run(text: str) -> str:
    """Return a configuration without the arguments that name several runs."""
    name, _, arguments = text.partition(":")
    return f"{name}:{train_command_line.without_several(arguments)}"


def _with(text: str, **values: str | int) -> str:
    """Return a configuration with further arguments."""
    name, _, arguments = text.partition(":")
    return f"{name}:" + ",".join([*filter(None, [arguments]), *(f"{key}={value}" for key, value in values.items())])


def _takes(text: str) -> bool:
    """Return whether a configuration takes the arguments that it is given, but for those that name several runs."""
    name, _, arguments = text.partition(":")
    try:
        defaults.load_config_file(name).get_config(train_command_line.without_several(arguments))
    except (TypeError, ValueError):
        return False
    return True


def _with_folds(text: str) -> str:
    """Return a configuration with all of its folds.

    Raises:
      ConfigError: It names folds, or a number of samples, itself.
    """
    if any(item.startswith("samples=") and item != "samples=0" for item in text.partition(":")[2].split(",")):
        raise ConfigError(f"--config {text}: all protocols need all samples; leave samples=… out")
    if any(item.startswith("fold=") and item != "fold=all" for item in text.partition(":")[2].split(",")):
        raise ConfigError(f"--config {text}: all protocols need all folds; leave fold=… out")
    return text if "fold=all" in text else _with(text, fold=study_arguments.ALL)


def _load(text: str) -> Config:
    """Load a configuration with its arguments."""
    name, _, arguments = text.partition(":")
    defaults.check_config(name, arguments)
    return defaults.load_config_file(name).get_config(arguments)


def _common_dir(configs: Sequence[Config], output: Path) -> Path:
    """Return the folder of the corpora, of which there must be one."""
    if all(config.data.corpus.startswith(SYNTHETIC) for config in configs):
        return output / "data"
    places = {config.data.dir for config in configs}
    if len(places) > 1:
        raise ConfigError(f"data.dir: the configurations have {' and '.join(sorted(places))}: give --data_dir")
    return Path(places.pop())


def _few_samples(text: str, first: Config, data_dir: Path) -> list[Config]:
    """Return the runs on few samples of fold 0 that a curve needs; none where the configuration takes no samples."""
    text = _of_one_run(text)
    if not _takes(_with(text, fold=0, samples=SAMPLES[0], updates="equal")):
        return []
    seed = {"seed": first.seed} if first.seed else {}
    configs = []
    for samples in (n for n in SAMPLES if 0 < n < _training_frames(first, data_dir)):
        published = _load(_with(text, fold=0, samples=samples, **seed))
        if samples < published.train.batch_size:
            continue
        configs.append(published)
        if samples // published.train.batch_size < published.train.steps_per_epoch:
            configs.append(_load(_with(text, fold=0, samples=samples, updates="equal", **seed)))
    return configs


def _training_frames(config: Config, data_dir: Path) -> int:
    """Return how many frames a run has to train on; about, where its corpus' published or rendered number says so."""
    name = folds.base_name(config.data.corpus)
    if name in folds.PUBLISHED_FRAMES:
        counts = folds.PUBLISHED_FRAMES[name]
        return int((sum(counts) - counts[config.data.fold]) * (1 - config.data.held_out))
    if name.startswith(SYNTHETIC):
        return int(config.data.frames * (folds.NUM_FOLDS - 1) / folds.NUM_FOLDS * (1 - config.data.held_out))
    changed = config.copy_and_resolve_references()
    changed.data.dir = str(data_dir)
    return len(splits.open_run(changed).train.indices)


def print_plan(plan: TrainingPlan) -> None:
    """Print what is done and what will be trained.

    Raises:
      ConfigError: A run cannot be trained.
    """
    planned_study = study_plan.make(plan.study)
    print(study_plan.as_text(planned_study), flush=True)
    if planned_study.refusal:
        raise ConfigError(planned_study.refusal)


def _requests(plan: TrainingPlan, options: EvalOptions) -> Iterator[tuple[str, Request]]:
    """Yield the name of every report, and the evaluation that it is of."""
    prepared = {config.data.corpus: _prepared_name(config) for config in plan.configs}
    runs = {name: open_run(plan.study.workdir(name)) for name in plan.study.configs}
    full = {corpus: _on_all_samples(plan, runs, corpus) for corpus in plan.corpora}
    for corpus, of_corpus in full.items():
        kind = request.STUDY if _has_seeds(of_corpus) else request.WITHIN
        source = corpus if kind == request.STUDY else ""
        name = f"within_{folds.base_name(corpus)}"
        yield name, Request(kind, of_corpus, prepared[corpus], source=source, options=options)
    for source in plan.corpora:
        for target in (corpus for corpus in plan.corpora if corpus != source):
            kind = request.STUDY if _has_seeds(full[source]) else request.CROSS
            spec = Request(kind, full[source], prepared[target], source=source, options=options)
            yield f"cross_{folds.base_name(source)}_to_{folds.base_name(target)}", spec
    if plan.curve:
        first = plan.corpora[0]
        of_curve = tuple(runs[name] for name in plan.curve)
        spec = Request(request.EFFICIENCY, of_curve, prepared[first], options=options)
        yield f"efficiency_{folds.base_name(first)}", spec


def _on_all_samples(plan: TrainingPlan, runs: dict[str, EvaluatedRun], corpus: str) -> tuple[EvaluatedRun, ...]:
    configs = plan.study.configs
    return tuple(
        run for name, run in runs.items() if configs[name].data.corpus == corpus and not configs[name].data.samples
    )


def _has_seeds(runs: Sequence[EvaluatedRun]) -> bool:
    return len({(run.config or {}).get("seed") for run in runs}) > 1


def _prepared_name(config: Config) -> str:
    """Return a synthetic corpus' name with its configuration, of which there may be several in the folder."""
    if not config.data.corpus.startswith(SYNTHETIC):
        return config.data.corpus
    return f"{config.data.corpus}/{make_config(config.data.frames, config.data.seed).name}"
