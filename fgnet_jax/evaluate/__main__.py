"""Evaluate how well a trained network detects action units: metrics with confidence intervals, as in the paper.

    python -m fgnet_jax.evaluate --weights runs/bp4d_f0/best --corpus bp4d --split fold_0 --data_dir data
    python -m fgnet_jax.evaluate protocol within --corpus disfa --runs 'runs/disfa_f*' --data_dir data
    python -m fgnet_jax.evaluate protocol cross --source bp4d --target disfa --runs 'runs/bp4d_f*' --data_dir data
    python -m fgnet_jax.evaluate protocol efficiency --corpus disfa --runs 'runs/disfa_f*' --data_dir data
    python -m fgnet_jax.evaluate protocol all --config synthetic --output results
    python -m fgnet_jax.evaluate study --runs 'runs/disfa_f*' --data_dir data --output results/disfa
    python -m fgnet_jax.evaluate reproduce results/within_disfa
    python -m fgnet_jax.evaluate from-predictions results/within_disfa --output again
    python -m fgnet_jax.evaluate compare results/baseline results/within_disfa --output results/compared

`within` tests each of three runs on the fold that was left out of its training; `cross` tests the run of fold 0 on fold
0 of the other corpus, as published, and all runs on the whole of that corpus; `efficiency` plots F1 over the number of
training samples; `all` trains every run that these need, on the synthetic corpora or those of --config, and evaluates
all of them, and resumes where it was stopped. `study` evaluates several seeds of every fold: mean and standard
deviation over seeds, mean over folds, intervals over subjects. `reproduce` evaluates a report again from what it
records, and compares every figure bit for bit. `from-predictions` makes a report's tables and plots from its kept
predictions, without weights or corpora. `compare` compares two methods on the same frames, subject by subject: reports'
folders, kept predictions, or tables of `predict`, OpenFace, Py-Feat and LibreFace.

Exit status: 0; 1 if `reproduce` finds other figures; 2 for what cannot be evaluated, such as subjects whom the network
was trained on.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from fgnet_jax.runtime import command_line, compilation_cache, devices, logs
from fgnet_jax.runtime.command_line import Parser, natural, positive, program

_PROTOCOLS = ("within", "cross", "efficiency")
_COMPARED = ("f1", "auc", "average_precision", "balanced_accuracy")
_Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"


@command_line.command("fgnet_jax.evaluate")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    arguments = parser().parse_args(argv)
    from fgnet_jax.evaluate import commands  # after the help and usage errors, which need not wait for JAX

    logs.setup_logging()
    devices.check()
    compilation_cache.enable("evaluate", is_enabled=not getattr(arguments, "no_cache", False))
    try:
        return commands.COMMANDS[arguments.run](arguments)
    except commands.REFUSALS as refusal:
        return command_line.fail("fgnet_jax.evaluate", refusal, 2)


def parser() -> argparse.ArgumentParser:
    """Build the command line's parser: options of one evaluation, and a subcommand for protocols."""
    top = Parser(__doc__ or "", program("evaluate"))
    top.add_argument("--weights", metavar="DIR", help="weights, or the workdir of a run")
    top.add_argument("--corpus", metavar="NAME", help="a prepared corpus: disfa, bp4d, synthetic_disfa, …")
    top.add_argument("--split", default="fold_0", metavar="NAME", help="fold_0, or several: fold_0+fold_1")
    _common(top)
    top.set_defaults(run="single")
    names = "protocol within|cross|efficiency|all, study, reproduce, from-predictions, compare"
    subcommands = top.add_subparsers(title="subcommands", metavar=names)
    kinds = subcommands.add_parser("protocol").add_subparsers(required=True)
    parts = [*(_protocol(kinds, name) for name in _PROTOCOLS), _all(kinds)]
    parts += [_study(subcommands), _reproduce(subcommands), _from_predictions(subcommands), _compare(subcommands)]
    top.epilog = f"{top.epilog}\n" + "".join(part.format_usage() for part in parts)
    return top


def _protocol(kinds: _Subparsers, name: str) -> argparse.ArgumentParser:
    part = kinds.add_parser(name)
    for word in ("source", "target") if name == "cross" else ("corpus",):
        part.add_argument(f"--{word}", required=True, metavar="NAME", help="a prepared corpus")
    part.add_argument("--runs", required=True, metavar="PATTERN", help="workdirs of the runs, such as 'runs/disfa_f*'")
    _common(part)
    part.set_defaults(run=name)
    return part


def _all(kinds: _Subparsers) -> argparse.ArgumentParser:
    part = kinds.add_parser("all")
    part.add_argument(
        "--config",
        action="append",
        metavar="NAME|FILE[:KEY=VALUE,...]",
        help="configuration of the runs, one for each corpus: disfa:seeds=3; synthetic if not given",
    )
    part.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder of the runs and reports")
    part.add_argument("--data_dir", type=Path, metavar="DIR", help="folder of the corpora; data.dir if not given")
    part.add_argument("--dry_run", action="store_true", help="print what would be trained, for how long, and end")
    part.add_argument("--resamples", type=natural, default=1000, metavar="N", help="bootstrap resamples of subjects")
    part.set_defaults(run="all")
    return part


def _study(subcommands: _Subparsers) -> argparse.ArgumentParser:
    part = subcommands.add_parser("study")
    part.add_argument(
        "--runs", required=True, nargs="+", metavar="PATTERN", help="workdirs of all its runs, such as 'runs/disfa_f*'"
    )
    part.add_argument("--corpus", metavar="NAME", help="another corpus to test on; that of training if not given")
    _common(part)
    part.set_defaults(run="study")
    return part


def _reproduce(subcommands: _Subparsers) -> argparse.ArgumentParser:
    part = subcommands.add_parser("reproduce")
    part.add_argument("report", type=Path, metavar="REPORT_DIR", help="folder of the report")
    part.add_argument("--data_dir", type=Path, metavar="DIR", help="folder of prepared corpora, if it was moved")
    part.add_argument("--runs", metavar="PATTERN", help="workdirs of the runs, if they were moved")
    part.set_defaults(run="reproduce")
    return part


def _from_predictions(subcommands: _Subparsers) -> argparse.ArgumentParser:
    part = subcommands.add_parser("from-predictions")
    part.add_argument("paths", type=Path, nargs="+", metavar="FOLDER|FILE", help="a report's folder, or Parquet files")
    part.add_argument("--output", type=Path, metavar="DIR", help="folder for the report and images")
    part.add_argument(
        "--protocol", choices=("single", *_PROTOCOLS, "study"), help="that of report.json; single without report.json"
    )
    part.add_argument("--resamples", type=natural, metavar="N", help="those of report.json; 1000 without report.json")
    part.add_argument("--seed", type=natural, metavar="N", help="that of report.json; 0 without report.json")
    part.set_defaults(run="from-predictions")
    return part


def _compare(subcommands: _Subparsers) -> argparse.ArgumentParser:
    part = subcommands.add_parser("compare")
    part.add_argument("first", metavar="A", help="a report's folder, kept predictions, a table, or a folder of tables")
    part.add_argument("second", metavar="B", help="another; differences are B minus A")
    part.add_argument("--names", nargs=2, metavar=("A", "B"), help="names of the methods; those of folders or files")
    part.add_argument("--metrics", nargs="+", choices=_COMPARED, default=_COMPARED, help="all if not given")
    part.add_argument("--corpus", default="", metavar="NAME", help="a prepared corpus, for labels that neither has")
    part.add_argument("--data_dir", type=Path, default=Path("data"), metavar="DIR", help="folder of prepared corpora")
    part.add_argument(
        "--inputs",
        action="append",
        default=[],
        metavar="REGEX",
        help="groups subject, sequence, frame of tables' inputs or file names; once, or once for A and once for B",
    )
    part.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="NUMBER|FILE",
        help="score above which an AU is present, the method's own if not given; once, or once for A and once for B",
    )
    part.add_argument("--over_folds", action="store_true", help="means over folds, not metrics over all frames at once")
    part.add_argument("--resamples", type=natural, default=5_000, metavar="N", help="draws of subjects, for intervals")
    part.add_argument(
        "--permutations", type=positive, default=4_999, metavar="N", help="swaps of subjects, for p values"
    )
    part.add_argument("--seed", type=natural, default=0, metavar="N", help="seed of draws and swaps")
    part.add_argument("--output", type=Path, metavar="DIR", help="folder for the report and charts")
    part.set_defaults(run="compare")
    return part


def _common(part: argparse.ArgumentParser) -> None:
    part.add_argument("--data_dir", type=Path, default=Path("data"), metavar="DIR", help="folder of prepared corpora")
    part.add_argument("--output", type=Path, metavar="DIR", help="folder for the report, images and predictions")
    part.add_argument("--thresholds", type=Path, metavar="FILE", help="JSON of thresholds by AU; 0 if not given")
    part.add_argument(
        "--fit_thresholds", action="store_true", help="fit thresholds to each run's held-out training subjects"
    )
    part.add_argument(
        "--trained_fold", type=int, metavar="N", help="the fold left out of training, for converted weights"
    )
    part.add_argument(
        "--resamples",
        type=natural,
        default=1000,
        metavar="N",
        help="bootstrap resamples of subjects, for the intervals",
    )
    part.add_argument("--seed", type=natural, default=0, metavar="N", help="seed of the resampling")
    compilation_cache.add_flag(part)
    part.add_argument("--batch_size", type=natural, default=16, metavar="N", help="frames per batch")
    part.add_argument("--threads", type=natural, default=4, metavar="N", help="threads that decode images")


if __name__ == "__main__":
    sys.exit(main())
