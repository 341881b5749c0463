"""Where a run with --resume goes on: what the table and the JSON beside it allow, by what earlier runs wrote."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fgnet_jax.media.sources import Source
from fgnet_jax.predict import batching, file_names, input_files, result_table, run_record
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
      inputs: Facts of inputs of which rows stay.
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
        size = (former.get("arguments") or {}).get("batch_size")
        is_same = sums is not None and former.get("weights_sums") == sums and size == request.arguments.batch_size
        if not is_same or not files.has_ended() or _is_longer(request.sources, former):
            return False
        check_content(request, former, request.sources)
    except RunRecordError as error:
        raise RequestError(str(error)) from error
    return True


def _former(files: RecordFiles, columns: "TableColumns") -> dict[str, Any] | None:
    """Return the record of the run that is resumed; None where it has left no rows.

    Raises:
      RunRecordError: There are rows, but no record.
    """
    former = files.read()
    if former is None and (table := files.otherwise_named()) is not None:
        raise RunRecordError(
            f"{table} cannot be resumed: with these inputs it would have another name; predict the new ones apart"
        )
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
        check_content(request, former, request.sources)
        return Resumption(None)
    if not rows:
        raise RunRecordError(f"{table} cannot be resumed: it is complete, and has fewer inputs than this command")
    point = _point(request, columns, batch_size, rows)
    _check_presence(request, former, point)
    kept = request.sources[: point.written[0] + 1]
    facts = check_content(request, former, kept)
    rates = {name: rate for name, rate in (former.get("frame_rates") or {}).items() if name in facts}
    request.report(f"resuming after {point.rows} rows")
    return Resumption(point, rates, facts)


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
    """Refuse inputs that do not begin with those of before, by their names."""
    recorded: Mapping[str, Any] = former.get("inputs") or {}
    names = list(dict.fromkeys(source.name for source in request.sources))
    if names[: len(recorded)] != list(recorded):
        name = next(old for old, new in zip(recorded, [*names, *[None] * len(recorded)], strict=False) if old != new)
        raise RunRecordError(f"{request.outputs.table} cannot be resumed, its inputs are others: {name} among them")
    _check_names(request, former["input_count"])


def check_content(
    request: PredictionRequest, former: Mapping[str, Any], sources: Sequence[Source]
) -> dict[str, dict[str, Any]]:
    """Refuse other files than those of before; what is not recorded is not known.

    Args:
      request: The run's request.
      former: The record of the run that is resumed.
      sources: Inputs of which rows stay.

    Returns:
      What is known of them, by name.
    """
    recorded: Mapping[str, dict[str, Any]] = former.get("inputs") or {}
    known: dict[str, dict[str, Any]] = {}
    for source in sources:
        facts = recorded.get(source.name, {})
        try:
            difference = input_files.change(source.path, facts) if source.name not in known else None
        except OSError as error:
            difference = f"or its content cannot be compared: {error}"
        if difference is not None:
            raise RunRecordError(f"{request.outputs.table} cannot be resumed: {source.name} has changed, {difference}")
        known[source.name] = facts | input_files.facts(source.path)
    return known


def _check_presence(request: PredictionRequest, former: Mapping[str, Any], point: ResumePoint) -> None:
    """Refuse inputs that were read before, must be read again, and are gone."""
    recorded: Mapping[str, Any] = former.get("inputs") or {}
    identities = request.options.identities
    first = 0 if identities else point.source
    for index, source in enumerate(request.sources[first:], start=first):
        facts = recorded.get(source.name, {})
        was_read = "bytes" in facts and (index <= point.written[0] or "sha256" in facts)
        if was_read and not input_files.facts(source.path):
            reason = "with --identities its faces are needed" if identities else "its last rows are predicted again"
            raise RunRecordError(f"{request.outputs.table} cannot be resumed: {source.name} is gone, and {reason}")


def _check_names(request: PredictionRequest, count: int) -> None:
    """Refuse further inputs because of which PNGs of the first `count` would be named otherwise than they are."""
    outputs, sources = request.outputs, request.sources
    if not (outputs.overlays or outputs.aligned_faces) or count >= len(sources):
        return
    names = [source.name for source in sources]
    for before, now in zip(file_names.stems(names[:count]), file_names.stems(names), strict=False):
        if before != now:
            raise RunRecordError(
                f"{request.outputs.table} cannot be resumed: with these inputs {before} would be named {now}; "
                "predict the new ones apart"
            )


def _is_longer(sources: list[Source], former: Mapping[str, Any]) -> bool:
    """Return whether there are inputs behind those of the former run, or it is not known which these were."""
    return (former["input_count"] if former["begun"] is None else former["begun"]) < len(sources)
