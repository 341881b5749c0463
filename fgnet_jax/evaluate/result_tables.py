"""Tables of AUs by frame, of `fgnet-jax predict` or of OpenFace, Py-Feat or LibreFace, read for a comparison.

Columns and their conventions are those of `predict.columns`. What is no result (a row without a face, an empty cell) is
-1, never "absent". Which subject a row shows is in a column `subject`, or in the name of its input.
"""

import csv
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from fgnet_jax.aus import label as au_label
from fgnet_jax.evaluate.method import Method
from fgnet_jax.evaluate.runs import EvaluationError
from fgnet_jax.predict.columns import DIALECT_VERSIONS, DIALECTS, TableColumns, table_columns

_PRESENCE = re.compile(r"AU_?(\d{1,2})(_c)?", re.IGNORECASE)
_SCORES = ("AU{:02d}_score", "AU{:02d}_r", "au_{}_intensity")
_PROBABILITY = 0.5
UNKNOWN_SUBJECTS = "read from a table, which does not say whom its network has learnt from"
"""Remark about every table."""

_OWN = "fgnet-jax predict"


@dataclasses.dataclass(frozen=True)
class _Header:
    """What a table's columns are; names are as in the file, with the spaces that OpenFace puts before them.

    Attributes:
      path: The table.
      names: Names in the file by the name without spaces.
      tool: Whose table it is, in words.
      first_frame: Number of the first frame.
      frame: Column of frame numbers, or None.
      present: Column of presence by AU.
      scores: Column of scores by AU, of the AUs that have one.
    """

    path: Path
    names: dict[str, str]
    tool: str
    first_frame: int
    frame: str | None
    present: dict[int, str]
    scores: dict[int, str]

    def used(self) -> dict[str, type]:
        """Return the columns that are read, without spaces, with the types of their values."""
        texts = [name for name in ("input", "subject", "sequence", "split") if name in self.names]
        numbers = [name for name in ("success", "confidence", "FaceScore") if name in self.names]
        numbers += [name for name in (self.frame, *self.present.values(), *self.scores.values()) if name]
        return dict.fromkeys(texts, str) | dict.fromkeys(numbers, float)


def read(paths: Sequence[Path], *, source: str, inputs: str = "") -> Method:
    """Read tables as one method.

    Args:
      paths: The tables, all of one tool.
      source: Their name in messages.
      inputs: Regular expression with the groups `subject`, and perhaps `sequence` and `frame`, that is searched for in
        the column `input`, or in the table's path where there is none; "" where there is a column `subject`.

    Raises:
      EvaluationError: A table cannot be read, has no AU, or does not say whom it shows.
    """
    headers = [_header(path) for path in paths]
    tools = {header.tool: header.path for header in headers}
    if len(tools) > 1:
        shown = ", ".join(f"{path} ({tool})" for tool, path in tools.items())
        raise EvaluationError(f"{source}: tables of several tools: {shown}")
    aus = tuple(au for au in headers[0].present if all(au in header.present for header in headers))
    if not aus:
        raise EvaluationError(f"{source}: no AU is in all of its {len(headers)} tables")
    pattern = _pattern(inputs) if inputs else None
    parts = [_read_table(header, aus, pattern) for header in headers]
    joined: dict[str, Any] = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    confidence, origins = joined.pop("confidence"), joined.pop("origins")
    method, remarks = _with_presence(Method(aus=aus, **joined), headers[0].tool)
    method, doubled = _one_face_per_frame(method, confidence, origins)
    warnings = tuple(_from_0(method, headers))
    return dataclasses.replace(method, remarks=(*remarks, *doubled, UNKNOWN_SUBJECTS), warnings=warnings)


def _from_0(method: Method, headers: Sequence[_Header]) -> Iterator[str]:
    """Yield that frames may be one off, where a table has subjects and a frame 0: its tool's number, or the corpus'."""
    has_numbers = any(header.frame and "subject" in header.names for header in headers)
    for subject in method.subjects[method.frames == 0][:1]:
        if has_numbers:
            yield (
                f"There is a frame 0 of {subject} in a table with a column subject, whose frames are taken as the "
                "corpus numbers them. Corpora number a video's frames from 1: add 1 if these are a tool's own numbers."
            )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise EvaluationError(f"--inputs {text!r}: no regular expression: {error}") from error
    if "subject" not in pattern.groupindex or not set(pattern.groupindex) <= {"subject", "sequence", "frame"}:
        raise EvaluationError(
            f"--inputs {text!r}: expected a group (?P<subject>…), perhaps (?P<sequence>…) and (?P<frame>…)"
        )
    return pattern


def _header(path: Path) -> _Header:
    """Read the names of a table's columns, and find out whose they are."""
    names = {name.strip(): name for name in _names(path)}
    found = {name: match for name in names if (match := _PRESENCE.fullmatch(name))}
    present: dict[int, str] = {}
    for name, match in sorted(found.items(), key=lambda item: not item[1][2]):  # AU01_c before AU01
        present.setdefault(int(match[1]), name)
    if not present:
        shown = ", ".join(list(names)[:8])
        raise EvaluationError(f"{path}: no column of an AU's presence (AU01_c, AU01, au_1): its columns are {shown}")
    scores = {au: name for au in present for text in reversed(_SCORES) if (name := text.format(au)) in names}
    tool, conventions = _tool(names, present)
    frame = conventions.frame if conventions.frame in names else None
    first = conventions.first_frame if "subject" not in names else 1  # whoever adds subjects has the corpus' numbers
    return _Header(path, names, tool, first, frame, dict(sorted(present.items())), scores)


def _tool(names: Mapping[str, str], present: Mapping[int, str]) -> tuple[str, TableColumns]:
    """Return whose columns these are, and their conventions."""
    columns = {dialect: table_columns((), dialect) for dialect in DIALECTS}
    if any(name.endswith("_score") for name in names):
        return _OWN, table_columns(())
    if columns["libreface"].frame in names or any(name.startswith("au_") for name in present.values()):
        return DIALECT_VERSIONS["libreface"], columns["libreface"]
    if any(name.endswith("_c") for name in present.values()):
        return DIALECT_VERSIONS["openface"], columns["openface"]
    return DIALECT_VERSIONS["pyfeat"], columns["pyfeat"]


def _names(path: Path) -> list[str]:
    try:
        if path.suffix.lower() == ".parquet":
            return pyarrow.parquet.read_schema(path).names
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file, delimiter=_delimiter(path)), [])
    except (OSError, ValueError, csv.Error, pyarrow.ArrowException) as error:
        raise EvaluationError(f"{path}: cannot be read as a table: {error}") from error


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _read_table(header: _Header, aus: tuple[int, ...], pattern: re.Pattern[str] | None) -> dict[str, np.ndarray]:
    """Read a table: the arrays of a `Method`, and each row's confidence; `present` has the values as they are."""
    columns = _columns(header)
    count = len(next(iter(columns.values())))
    keys = _keys(header, columns, pattern, count)
    values = np.stack([columns[header.present[au]] for au in aus], 1)
    if "success" in columns:
        values[columns["success"] != 1] = np.nan
    missing = np.full(count, np.nan)
    scores = np.stack([columns[header.scores[au]] if au in header.scores else missing for au in aus], 1)
    scores[np.isnan(values)] = np.nan
    splits = {"splits": columns["split"]} if "split" in columns else {}
    confidence = columns.get("confidence", columns.get("FaceScore", missing))
    origins = columns.get("input", np.full(count, str(header.path)))
    return {**keys, **splits, "present": values, "scores": scores, "confidence": confidence, "origins": origins}


def _columns(header: _Header) -> dict[str, np.ndarray]:
    """Read the columns that are used, by their names without spaces: text as str, numbers as float64, NaN if empty."""
    used = header.used()
    raw = {header.names[name]: name for name in used}
    types = {file: pyarrow.string() if used[name] is str else pyarrow.float64() for file, name in raw.items()}
    try:
        if header.path.suffix.lower() == ".parquet":
            table = pyarrow.parquet.read_table(header.path, columns=list(raw))
        else:
            table = pyarrow.csv.read_csv(
                header.path,
                read_options=pyarrow.csv.ReadOptions(use_threads=False),  # errors then name the row
                parse_options=pyarrow.csv.ParseOptions(delimiter=_delimiter(header.path)),
                convert_options=pyarrow.csv.ConvertOptions(include_columns=list(raw), column_types=types),
            )
        table = table.cast(pyarrow.schema([(file, types[file]) for file in table.column_names]))
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise EvaluationError(f"{header.path}: cannot be read as a table: {error}") from error
    return {name: _array(table[file], used[name]) for file, name in raw.items()}


def _array(column: pyarrow.ChunkedArray, kind: type) -> np.ndarray:
    if kind is str:
        return np.array(column.fill_null("").to_pylist(), str)
    return column.to_numpy().astype(np.float64)


def _keys(
    header: _Header, columns: Mapping[str, np.ndarray], pattern: re.Pattern[str] | None, count: int
) -> dict[str, np.ndarray]:
    """Return subject, sequence and frame of every row; the frame as corpora number it, from 1."""
    frames = _frames(header, columns, count)
    if "subject" in columns:
        sequences = columns.get("sequence", np.full(count, ""))
        return {"subjects": columns["subject"], "sequences": sequences, "frames": frames}
    if pattern is None:
        raise EvaluationError(
            f"{header.path}: no column subject: say with --inputs how its inputs name subjects, such as "
            "--inputs '(?P<subject>SN[0-9]+)'"
        )
    texts = columns.get("input", np.full(count, str(header.path)))
    found = dict(_matches(texts, pattern, header.path))
    subjects, sequences = (np.array([found[text][k] for text in texts], str) for k in (0, 1))
    numbers = [found[text][2] for text in texts]
    frames = np.array(
        [own if number is None else number for own, number in zip(frames, numbers, strict=True)], np.int64
    )
    return {"subjects": subjects, "sequences": sequences, "frames": frames}


def _frames(header: _Header, columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    if header.frame is None:
        return np.ones(count, np.int64)
    numbers = columns[header.frame]
    if not (np.isfinite(numbers) & (numbers == np.floor(numbers))).all():
        raise EvaluationError(f"{header.path}: column {header.frame!r} has other cells than whole numbers")
    return numbers.astype(np.int64) - header.first_frame + 1


def _matches(
    texts: np.ndarray, pattern: re.Pattern[str], path: Path
) -> Iterator[tuple[str, tuple[str, str, int | None]]]:
    """Yield each name of an input with its subject, sequence ("" without) and frame (None without)."""
    for text in np.unique(texts).tolist():
        match = pattern.search(text)
        if match is None or not match["subject"]:
            raise EvaluationError(f"{path}: --inputs {pattern.pattern!r} finds no subject in {text!r}")
        groups = match.groupdict(default="")
        frame = groups.get("frame", "")
        if "frame" in groups and not frame.isdecimal():
            raise EvaluationError(f"{path}: --inputs {pattern.pattern!r} finds no frame number in {text!r}")
        yield text, (match["subject"], groups.get("sequence", ""), int(frame) if frame else None)


def _with_presence(method: Method, tool: str) -> tuple[Method, list[str]]:
    """Return a table's method with presence from its values, 0 and 1, or probabilities of which these are made."""
    present, scores, remarks = np.full(method.present.shape, -1, np.int8), method.scores.copy(), []
    probable = []
    for k, au in enumerate(method.aus):
        values = method.present[:, k]
        known = np.isfinite(values)
        if ((values[known] != 0) & (values[known] != 1)).any():
            if (values[known] < 0).any() or (values[known] > 1).any():
                raise EvaluationError(
                    f"{au_label(au)} has presence {values[known].max():g}: expected 0, 1 or a probability"
                )
            probable.append(au_label(au))
            scores[:, k] = np.where(np.isnan(scores[:, k]), values, scores[:, k])
        present[known, k] = values[known] > _PROBABILITY
    if probable:
        remarks.append(f"{', '.join(probable)}: probabilities, present above {_PROBABILITY:g}")
    rule = f"as in the table ({tool})" + (f", probabilities above {_PROBABILITY:g}" if probable else "")
    return dataclasses.replace(method, present=present, scores=scores, rule=rule), remarks


def _one_face_per_frame(method: Method, confidence: np.ndarray, origins: np.ndarray) -> tuple[Method, list[str]]:
    """Return one row per frame: of several faces with a result the most confident one."""
    keys = [np.unique(part, return_inverse=True)[1] for part in (method.subjects, method.sequences, method.frames)]
    has_result = np.asarray(np.any(method.present >= 0, axis=1))
    order = np.lexsort((-np.nan_to_num(confidence, nan=-np.inf), ~has_result, *keys[::-1]))
    ordered = np.stack(keys, 1)[order]
    is_first = np.append([True], np.any(ordered[1:] != ordered[:-1], axis=1))[: len(order)]
    chosen = order[is_first][np.cumsum(is_first) - 1]  # of each row's frame
    _refuse(method, order[np.flatnonzero(origins[order] != origins[chosen])], origins)
    extra = order[~is_first & has_result[order]]
    unsure = extra[np.isnan(confidence[extra])]
    if unsure.size:
        where = f"{method.subjects[unsure[0]]} frame {method.frames[unsure[0]]}"
        raise EvaluationError(f"{origins[unsure[0]]}: several faces in {where}, and no confidence to choose one by")
    remark = f"{len(extra):,} rows are further faces of a frame, whose most confident one is taken"
    return method.of_rows(np.sort(order[is_first])), [remark] if extra.size else []


def _refuse(method: Method, rows: np.ndarray, origins: np.ndarray) -> None:
    """Refuse rows that are of another input than other rows of the same frame."""
    if rows.size:
        row = rows[0]
        same = (method.subjects == method.subjects[row]) & (method.frames == method.frames[row])
        others = sorted(set(origins[same & (method.sequences == method.sequences[row])].tolist()))
        raise EvaluationError(
            f"{others[0]} and {others[1]} both have frame {method.frames[row]} of {method.subjects[row]}: tell them "
            "apart by a group (?P<sequence>…) or (?P<frame>…) of --inputs"
        )
