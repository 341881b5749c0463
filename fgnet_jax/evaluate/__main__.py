"""Evaluate how well a trained network detects action units: metrics with confidence intervals, as in the paper.

    python -m fgnet_jax.evaluate --weights runs/bp4d_f0/best --corpus bp4d --split fold_0 --data_dir data
    python -m fgnet_jax.evaluate protocol within --corpus disfa --runs 'runs/disfa_f*' --data_dir data
    python -m fgnet_jax.evaluate protocol cross --source bp4d --target disfa --runs 'runs/bp4d_f*' --data_dir data
    python -m fgnet_jax.evaluate protocol efficiency --corpus disfa --runs 'runs/disfa_f*' --data_dir data
    python -m fgnet_jax.evaluate protocol all --config synthetic --output results
    python -m fgnet_jax.evaluate reproduce results/within_disfa
    python -m fgnet_jax.evaluate from-predictions results/within_disfa --output again

`within` tests each of three runs on the fold that was left out of its training; `cross` tests the run of fold 0 on
fold 0 of the other corpus, as published, and all runs on the whole of that corpus; `efficiency` plots F1 over the
number of training samples; `all` trains every run that these need on the synthetic corpora and evaluates all of them,
and resumes where it was stopped. `reproduce` evaluates a report again from what it records, and compares every figure
bit for bit. `from-predictions` makes a report's tables and plots from its kept predictions, without weights or corpora.

Exit status: 0; 1 if `reproduce` finds other figures; 2 for what cannot be evaluated, such as subjects whom the network
was trained on.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from fgnet_jax.runtime import command_line, compilation_cache, devices, logs
from fgnet_jax.runtime.command_line import Parser, natural, program

_PROTOCOLS = ("within", "cross", "efficiency")
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
    names = "protocol within|cross|efficiency|all, reproduce, from-predictions"
    subcommands = top.add_subparsers(title="subcommands", metavar=names)
    kinds = subcommands.add_parser("protocol").add_subparsers(required=True)
    parts = [*(_protocol(kinds, name) for name in _PROTOCOLS), _all(kinds)]
    parts += [_reproduce(subcommands), _from_predictions(subcommands)]
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
    part.add_argument("--config", default="synthetic", metavar="NAME|FILE", help="configuration of the runs")
    part.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder of the runs and reports")
    part.add_argument("--data_dir", type=Path, metavar="DIR", help="folder of the corpora; OUTPUT/data if not given")
    part.add_argument("--resamples", type=natural, default=1000, metavar="N", help="bootstrap resamples of subjects")
    part.set_defaults(run="all")
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
        "--protocol", choices=("single", *_PROTOCOLS), help="that of report.json; single without report.json"
    )
    part.add_argument("--resamples", type=natural, metavar="N", help="those of report.json; 1000 without report.json")
    part.add_argument("--seed", type=natural, metavar="N", help="that of report.json; 0 without report.json")
    part.set_defaults(run="from-predictions")
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
