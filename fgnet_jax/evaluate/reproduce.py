"""The table of the day again: a report's evaluation, by its own recorded request, compared figure by figure."""

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fgnet_jax.evaluate import evaluation, protocols, request
from fgnet_jax.evaluate import report as report_lib
from fgnet_jax.evaluate.from_predictions import read_report
from fgnet_jax.evaluate.request import Request
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError, checksum, open_run
from fgnet_jax.evaluate.scoring import EvalData, open_identity
from fgnet_jax.models.weights import WeightsError

COMPARED = (
    *("title", "row", "mean_f1", "aus", "mean", "intensity", "rows"),
    *("interval_level", "curve", "folds", "study", "corpora"),
)
"""Keys of report.json that are compared: all figures, and what they are of."""

_DESCRIPTIONS = ("weights", "configuration", "lineage")  # of the weights, whose SHA-256 is compared


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came out of an evaluation that was made again.

    Attributes:
      figures: A line for every figure that is not the same, bit for bit, and every file that was changed since.
      environment: A line for every version and device that is another than then.
    """

    figures: list[str]
    environment: list[str]


def reproduce(folder: Path, *, data_dir: Path | None = None, pattern: str | None = None) -> Comparison:
    """Evaluate again what a report records, with predictions made anew.

    Args:
      folder: The report's folder.
      data_dir: Folder of the corpora; None for the recorded one.
      pattern: Where the runs are, such as 'runs/disfa_f*'; None for where they were.

    Raises:
      EvaluationError: The report has no request, or its weights or corpora are not those that it was made with.
    """
    recorded = read_report(folder / "report.json")
    spec, data = _request(recorded, folder, data_dir=data_dir, pattern=pattern)
    _check_corpora(recorded, spec, data)
    with tempfile.TemporaryDirectory(prefix="fgnet_jax_") as temporary:
        fresh = evaluation.by_networks(dataclasses.replace(data, predictions=Path(temporary)), spec)
        values = json.loads(json.dumps(report_lib.as_json(fresh.report)))
    changed = report_lib.damage(folder, recorded)
    return Comparison(figures=[*changed, *compare(recorded, values)], environment=_environment(recorded, values))


def _request(
    recorded: Mapping[str, Any], folder: Path, *, data_dir: Path | None, pattern: str | None
) -> tuple[Request, EvalData]:
    """Return the recorded request with its runs, whose weights are checked."""
    values = recorded.get(request.KEY)
    if not values:
        raise EvaluationError(f"{folder}/report.json: an earlier version wrote it, without its `{request.KEY}`")
    if values.get("data_dir") is None and data_dir is None:
        raise EvaluationError(
            f"{folder}/report.json was made from kept predictions: give --data_dir, or compare with from-predictions"
        )
    found = {run.name: run for run in protocols.find_runs(pattern)} if pattern else {}
    runs = tuple(_opened(run, found, pattern) for run in values["runs"])
    names = {key: values[key] for key in ("protocol", "corpus", "source", "split")}
    spec = Request(runs=runs, options=request.options_of(values), **names)
    loading = {key: values[key] or getattr(EvalData, key) for key in ("batch_size", "threads")}
    return spec, EvalData(data_dir=data_dir or Path(values["data_dir"]), **loading)


def _opened(recorded: Mapping[str, Any], found: Mapping[str, EvaluatedRun], pattern: str | None) -> EvaluatedRun:
    """Open a recorded run, under its recorded name and fold; refuse other weights.

    Raises:
      EvaluationError: The weights are missing, or have other values.
    """
    name = recorded["name"]
    if pattern and name not in found:
        raise EvaluationError(f"no run {name!r} matches {pattern!r}; there is: {', '.join(found)}")
    try:
        run = found.get(name) or open_run(recorded["weights"])
    except WeightsError as error:
        raise EvaluationError(f"{error}; if the runs were moved, give --runs") from error
    run = dataclasses.replace(run, name=name, fold=recorded["fold"], trained_fold=recorded.get("trained_fold"))
    if checksum(run) != recorded["weights_sha256"]:
        raise EvaluationError(
            f"{run.weights}: other weights than the report's: SHA-256 {recorded['weights_sha256'][:16]}… then, "
            f"{checksum(run)[:16]}… now"
        )
    return run


def _check_corpora(recorded: Mapping[str, Any], spec: Request, data: EvalData) -> None:
    """Refuse a corpus that was prepared anew since.

    Raises:
      EvaluationError: Its fingerprint is another; the message says what differs.
    """
    now = open_identity(data, spec.corpus)
    for then in recorded.get("corpora", ()):
        differences = now.differences(then)
        if differences:
            raise EvaluationError(
                f"{now.name}: another corpus than the report's: fingerprint {then['fingerprint']} then, "
                f"{now.fingerprint} now: {'; '.join(differences)}"
            )


def compare(recorded: Mapping[str, Any], fresh: Mapping[str, Any]) -> list[str]:
    """Compare the figures of two reports bit for bit; return a line for each that differs."""
    lines: list[str] = []
    for key in COMPARED:
        if key in recorded or key in fresh:
            lines += _differences(key, recorded.get(key), fresh.get(key))
    return lines


def _differences(where: str, then: object, now: object) -> Iterator[str]:
    """Yield a line for each value that differs, wherever it lies in lists and dictionaries."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*then, *now]):  # what is missing in the report differs, too
            if key not in _DESCRIPTIONS:
                yield from _differences(f"{where}.{key}", then.get(key), now.get(key))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from _differences(f"{where}[{number}]", old, new)
    elif then != now:
        yield f"{where}: {_short(then)} then, {_short(now)} now"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _environment(recorded: Mapping[str, Any], fresh: Mapping[str, Any]) -> list[str]:
    """Return what differs between the machines and versions of two reports, to explain other bits."""
    old, new = (report.get("provenance", {}) for report in (recorded, fresh))
    return [line for key in ("versions", "devices") for line in _differences(key, old.get(key), new.get(key))]
