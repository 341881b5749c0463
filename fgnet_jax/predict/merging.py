"""Joins what several machines have predicted (`--shard`) into table, JSON and archive of a single run (`--merge`)."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fgnet_jax.predict import heatmap_files, result_table, resuming, run_record, sharing
from fgnet_jax.predict.record_files import RecordFiles
from fgnet_jax.predict.request import PredictionRequest, RequestError, of_shard
from fgnet_jax.predict.run_record import RunRecordError
from fgnet_jax.runtime.command_line import status
from fgnet_jax.runtime.shards import Shard

if TYPE_CHECKING:
    from fgnet_jax.predict.columns import TableColumns

_SHOWN = 8  # shards or inputs that a message names
_OUTPUTS = ("heatmaps", "heatmaps_on", "overlays", "aligned_faces")  # arguments of results that must have all rows


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """A shard whose results are complete.

    Attributes:
      request: Its part of the request.
      record: The JSON beside its table, or that of all its tables.
    """

    request: PredictionRequest
    record: dict[str, Any]


def merge(request: PredictionRequest) -> int:
    """Join the results of all shards, and return the exit status.

    Raises:
      RequestError: A shard is missing, has not finished, or is of other weights, settings or inputs; nothing has been
        written then.
      OSError: The results cannot be written.
    """
    columns, known, sums = _described(request)
    if request.outputs.per_input:
        shards = [_tables_per_input(request)]
    else:
        shards = _complete(request)
    try:
        for shard in shards:
            _check(shard, shards[0], known, sums)
    except RunRecordError as error:
        raise RequestError(str(error)) from error
    _check_devices(shards)
    if not request.outputs.per_input:
        try:
            _write(request, shards, columns)
        except (heatmap_files.ArchiveError, result_table.TableError) as error:
            raise RequestError(f"{request.outputs.table} cannot be merged: {error}") from error
    names = {1: "1 shard"}.get(len(shards), f"{len(shards)} shards")
    request.report(f"{request.outputs.table} is complete{'' if request.outputs.per_input else f': of {names}'}")
    return 0


def _described(request: PredictionRequest) -> "tuple[TableColumns, dict[str, Any], str | None]":
    """Return the columns, settings and sums that the results of these weights have."""
    from fgnet_jax.metrics.thresholds import ThresholdsError
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.predict import detector, recording

    try:
        weights = detector.describe(request.arguments.weights, dtype=request.arguments.dtype)
        thresholds = request.options.thresholds_of(weights.meta.aus)
        columns = request.outputs.table_columns(weights.meta.aus, weights.calibrated)
        return columns, recording.settings(request, weights, thresholds), weights.sums
    except (WeightsError, ThresholdsError) as error:
        raise RequestError(str(error)) from error


def _complete(request: PredictionRequest) -> list[ShardResult]:
    """Return all shards that have inputs.

    Raises:
      RequestError: Some are missing or have not finished; the message names them.
    """
    table = request.outputs.table
    counts = sharing.counts(table)
    if len(counts) != 1:
        found = f"shards of {' and of '.join(map(str, counts))}: remove those of the others" if counts else "none"
        raise RequestError(f"--merge: expected {sharing.named(table, Shard(count=8, number=1))} and the like: {found}")
    numbered = [Shard(count=counts[0], number=number) for number in range(1, counts[0] + 1)]
    parts = {shard: part for shard in numbered if (part := of_shard(request, shard)).sources}
    found = {shard: _result(part) for shard, part in parts.items()}
    bad = [f"shard {shard} {state}" for shard, state in found.items() if isinstance(state, str)]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        again = "run the same command with --shard and --resume for these"
        raise RequestError(f"{table} cannot be merged: {', '.join(bad[:_SHOWN])}{more}; {again}")
    return [result for result in found.values() if isinstance(result, ShardResult)]


def _result(part: PredictionRequest) -> ShardResult | str:
    """Return a shard's results, or what is wrong with it."""
    files = RecordFiles(part.outputs, part.sources)
    try:
        record = files.read()
        if record is None:
            return f"is missing ({part.outputs.table})"
        return ShardResult(part, record) if files.has_ended() else f"has not finished ({part.outputs.table})"
    except RunRecordError as error:
        raise RequestError(str(error)) from error


def _tables_per_input(request: PredictionRequest) -> ShardResult:
    """Return the tables of all inputs as one result.

    Raises:
      RequestError: Some are missing or not complete; the message names them.
    """
    bad, records = [], []
    for source, table in zip(request.sources, request.outputs.tables(request.sources), strict=True):
        own = dataclasses.replace(request.outputs, table=table, per_input=None)
        result = _result(dataclasses.replace(request, sources=[source], outputs=own))
        bad += [source.name] if isinstance(result, str) else []
        records += [result.record] if isinstance(result, ShardResult) else []
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise RequestError(
            f"{request.outputs.table} is not complete: no finished table of {', '.join(bad[:_SHOWN])}{more}; run the "
            "same command with --shard and --resume for the shards that have not finished"
        )
    try:
        for record in records:
            run_record.check_same(request.outputs.table, record, records[0])
    except RunRecordError as error:
        raise RequestError(str(error)) from error
    return ShardResult(request, _united(records))


def _check(shard: ShardResult, first: ShardResult, known: Mapping[str, Any], sums: str | None) -> None:
    """Refuse a shard of other weights, settings or inputs.

    Raises:
      RunRecordError: It is; the message names the difference.
      RequestError: An input has changed since.
    """
    table, record = shard.request.outputs.table, shard.record
    try:
        run_record.check_same(table, {key: record.get(key) for key in known}, dict(known))
        run_record.check_same(table, record, first.record)
        resuming.check_content(shard.request, record, shard.request.sources)
    except RunRecordError as error:
        raise RunRecordError(str(error).replace("cannot be resumed", "cannot be merged")) from error
    if sums is not None and record.get("weights_sums") != sums:
        raise RunRecordError(f"{table} cannot be merged, it was written with other weights")
    names = list(dict.fromkeys(source.name for source in shard.request.sources))
    if list(record.get("inputs") or {}) != names:
        raise RunRecordError(f"{table} cannot be merged: its inputs are others than those of this command")
    _check_outputs(shard)


def _check_outputs(shard: ShardResult) -> None:
    """Refuse a shard with other results beside its table: there may be some of an earlier run in their place.

    Raises:
      RunRecordError: It has.
    """
    former, now = shard.record.get("arguments") or {}, vars(shard.request.arguments)
    for key in _OUTPUTS:
        is_path = key != "heatmaps_on"  # which may be written otherwise
        then, today = (bool(values.get(key)) if is_path else values.get(key) for values in (former, now))
        if then != today:
            what = ("with" if then else "without") if is_path else f"with another value ({then}) of"
            raise RunRecordError(f"{shard.request.outputs.table} cannot be merged: it was written {what} --{key}")


def _check_devices(shards: Sequence[ShardResult]) -> None:
    """Report shards that were computed on different devices: their last digits may be others."""
    kinds = sorted({str((shard.record.get("device") or {}).get("kind")) for shard in shards})
    if len(kinds) > 1:
        status("predict", f"shards were computed on {', '.join(kinds)}: last digits may not be those of one run")


def _write(request: PredictionRequest, shards: Sequence[ShardResult], columns: "TableColumns") -> None:
    """Write archive, table and JSON, in this order: a JSON that says so means that all are complete."""
    table = request.outputs.table
    for path in request.outputs.files(request.sources):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if request.outputs.archive:
        parts = [shard.request.outputs.archive or "" for shard in shards]
        heatmap_files.join(request.outputs.archive, parts, on_image=request.outputs.on_image)
    # Of an earlier run: if this one is killed, neither may be taken for what belongs to the new table.
    run_record.path_of(table).unlink(missing_ok=True)
    result_table.remove_rows(table, columns.faceless)
    result_table.join(table, [shard.request.outputs.table for shard in shards], columns)
    record = _united([shard.record for shard in shards]) | {"arguments": vars(request.arguments)}
    RecordFiles(request.outputs, request.sources).write(
        record | {"input_count": len(request.sources)}, complete=True, source=0
    )


def _united(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join records of the same settings: the first one, with the inputs of all."""
    united = {key: value for key, value in records[0].items() if key != "begun"}
    for key in ("inputs", "frame_rates"):
        united[key] = {name: value for record in records for name, value in (record.get(key) or {}).items()}
    return united
