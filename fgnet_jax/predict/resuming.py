"""Where a run with --resume goes on: what the table and the JSON beside it allow, by what earlier runs wrote."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fgnet_jax.media.sources import Source
from fgnet_jax.predict import batching, result_table, run_record
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.record_files import RecordFiles
from fgnet_jax.predict.request import PredictionRequest, RequestError
from fgnet_jax.predict.run_record import RunRecordError

if TYPE_CHECKING:
    from fgnet_jax.predict.columns import TableColumns


@dataclasses.dataclass(frozen=True)
class Resumption:
    """What a resumed run takes over.

    Attributes:
      point: Where to begin; None where nothing is left to do.
      frame_rates: Frame rates of videos that are known already.
      inputs: Facts of inputs that are known already.
    """

    point: ResumePoint | None
    frame_rates: dict[str, float] = dataclasses.field(default_factory=dict)
    inputs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


def is_complete(
    request: PredictionRequest, columns: "TableColumns", known: Mapping[str, Any], sums: str | None
) -> bool:
    """Return whether the table is complete already, by what is known before the weights are loaded.

    Args:
      request: The run's request.
      columns: The table's columns.
      known: Its settings (`recording.settings`).
      sums: `detector.WeightsDescription.sums`. Where it is not the former run's, the weights must be loaded to tell.

    Raises:
      RequestError: The table, complete or not, was written with other settings, or from other inputs.
    """
    files = RecordFiles(request.outputs, request.sources)
    try:
        former = _former(files, columns)
        if former is None:
            return False
        run_record.check_same(request.outputs.table, {key: former.get(key) for key in known}, dict(known))
        _check_inputs(request, former)
    except RunRecordError as error:
        raise RequestError(str(error)) from error
    if not files.has_ended() or _is_longer(request.sources, former):
        return False
    size = (former.get("arguments") or {}).get("batch_size")
    return sums is not None and former.get("weights_sums") == sums and size == request.arguments.batch_size


def _former(files: RecordFiles, columns: "TableColumns") -> dict[str, Any] | None:
    """Return the record of the run that is resumed; None where it has left no rows.

    Raises:
      RunRecordError: There are rows, but no record.
    """
    former = files.read()
    if former is None and (rows := files.unrecorded(columns)) is not None:
        raise RunRecordError(f"{rows} cannot be resumed: {run_record.path_of(files.tables[0])} is not beside it")
    return former if files.has_ended() or files.rows_files() else None


def find(request: PredictionRequest, columns: "TableColumns", batch_size: int, record: dict[str, Any]) -> Resumption:
    """Find where a run resumes.

    Args:
      request: The run's request.
      columns: The table's columns.
      batch_size: Faces per batch.
      record: The JSON that the run would begin with.

    Raises:
      RequestError: The existing table was written with other settings, columns or inputs.
    """
    try:
        return _find(request, columns, batch_size, record)
    except (result_table.TableError, RunRecordError) as error:
        raise RequestError(str(error)) from error


def _find(request: PredictionRequest, columns: "TableColumns", batch_size: int, record: dict[str, Any]) -> Resumption:
    table, files = request.outputs.table, RecordFiles(request.outputs, request.sources)
    if (former := _former(files, columns)) is None:
        return Resumption(ResumePoint())
    has_ended, rows = files.has_ended(), files.rows_files()
    run_record.check_same(table, former, record)
    _check_inputs(request, former)
    is_unknown = "inputs" not in former and not rows  # a table of an earlier version
    if has_ended and (is_unknown or not _is_longer(request.sources, former)):
        return Resumption(None)
    if not rows:
        raise RunRecordError(f"{table} cannot be resumed: it is complete, and has fewer inputs than this command")
    point = _point(request, columns, batch_size, rows)
    request.report(f"resuming after {point.rows} rows")
    return Resumption(point, former.get("frame_rates") or {}, former.get("inputs") or {})


def _point(request: PredictionRequest, columns: "TableColumns", batch_size: int, rows: Sequence[str]) -> ResumePoint:
    smoothing = request.options.smoothing()
    names = [source.name for source in request.sources]
    try:
        window = smoothing.window if smoothing else 0.0
        written = result_table.written_in_turn(rows, columns)
        return batching.resume_point(written, names, batch_size, window=window)
    except ValueError as error:
        raise result_table.TableError(f"{rows[0]} cannot be resumed: {error}") from error


def _check_inputs(request: PredictionRequest, former: Mapping[str, Any]) -> None:
    """Refuse inputs that do not begin with those of before, or are other files; what is not recorded is not known."""
    recorded: Mapping[str, Any] = former.get("inputs") or {}
    names = list(dict.fromkeys(source.name for source in request.sources))
    paths = {source.name: source.path for source in request.sources}
    if names[: len(recorded)] != list(recorded):
        name = next(old for old, new in zip(recorded, [*names, *[None] * len(recorded)], strict=False) if old != new)
        raise RunRecordError(f"{request.outputs.table} cannot be resumed, its inputs are others: {name} among them")
    for name, facts in recorded.items():
        size, path = facts.get("bytes"), paths[name]
        is_file = isinstance(path, str) and os.path.isfile(path)
        if request.options.identities and size is not None and not is_file:
            raise RunRecordError(
                f"{request.outputs.table} cannot be resumed: {name} is gone, and with --identities its faces are needed"
            )
        if size is not None and isinstance(path, str) and os.path.isfile(path) and os.path.getsize(path) != size:
            raise RunRecordError(
                f"{request.outputs.table} cannot be resumed: {name} has changed, "
                f"it had {size:,} bytes and has {os.path.getsize(path):,}"
            )


def _is_longer(sources: list[Source], former: Mapping[str, Any]) -> bool:
    """Return whether there are inputs behind those of the former run, or it is not known which these were."""
    return len(former.get("inputs") or {}) < len({source.name for source in sources})
