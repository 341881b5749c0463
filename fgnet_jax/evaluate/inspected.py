"""What `fgnet-jax inspect` finds out about a folder: its kind, its history, and damage to its files."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fgnet_jax.aus import label as au_label
from fgnet_jax.data import folds
from fgnet_jax.data.corpus import open_directory
from fgnet_jax.data.damage import FEATURES_FILE, INFO_FILE, METADATA_FILE, CorpusError
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import report
from fgnet_jax.metrics import calibration
from fgnet_jax.metrics.calibration import CalibrationError
from fgnet_jax.models import lineage, weights
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.weights import WeightsError, WeightsMeta
from fgnet_jax.runtime import files, sums
from fgnet_jax.train import ancestry, workdirs

WEIGHTS, RUN, DATASET, CHECKPOINT, REPORT = "weights", "run", "dataset", "checkpoint", "report"
"""Kinds of folders."""

UNKNOWN_FOLD = "unknown: nothing of this corpus can be tested within"

_Facts = dict[str, Any]


class _Verified(NamedTuple):
    """The last three fields of an `Inspection`, of one folder."""

    intact: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    without_sums: tuple[str, ...] = ()


class InspectionError(Exception):
    """A folder that this project has not written; the message names it."""


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What is known of a folder.

    Attributes:
      path: The folder.
      kind: Its kind.
      facts: What is known of it, by name: text, numbers, lists of texts.
      intact: Folders whose files are all as they were written.
      damaged: Files that are not, with what is wrong with each.
      without_sums: Folders that have no sums to compare with.
      parts: The weights and checkpoints of a run.
    """

    path: Path
    kind: str
    facts: _Facts
    intact: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    without_sums: tuple[str, ...] = ()
    parts: tuple["Inspection", ...] = ()

    def to_dict(self) -> _Facts:
        """Return everything as JSON has it."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            **self.facts,
            "intact": list(self.intact),
            "damaged": list(self.damaged),
            "without_sums": list(self.without_sums),
            "parts": [part.to_dict() for part in self.parts],
        }

    def lines(self) -> list[str]:
        """Return everything as people read it."""
        return [*self._facts(), *self._sums()]

    def _facts(self) -> list[str]:
        lines = [f"{self.path}: {self.kind}"]
        for name, value in self.facts.items():
            values = value if isinstance(value, list) else [value]
            lines += [f"  {name.replace('_', ' ')}:", *(f"    {item}" for item in values)] if values else []
        return lines + [f"  {line}" for part in self.parts for line in part._facts()]

    def _sums(self) -> list[str]:
        lines = [f"  intact: {folder}" for folder in self.intact]
        lines += [f"  no sums, written by an earlier version: {folder}" for folder in self.without_sums]
        return lines + [f"  DAMAGED: {text}" for text in self.damaged]


def inspect(path: Path) -> Inspection:
    """Find out what a folder is, and verify all of its files.

    Raises:
      InspectionError: It is none of the known kinds.
    """
    if not path.is_dir():
        raise InspectionError(f"{path}: {'not a folder' if path.exists() else 'no such folder'}")
    if re.fullmatch(r"\d+(\.damaged)?", path.resolve().name) and ((path / "state").is_dir() or sums.has_sums(path)):
        return _checkpoint(path)
    if (path / "meta" / "model.json").exists() or any((path / group).is_dir() for group in weights.GROUPS):
        return _weights(path)
    if (path / workdirs.CONFIG).exists() or (path / "checkpoints").is_dir():
        return _run(path)
    if (path / "report.json").exists():
        return _report(path)
    if folders := _dataset_folders(path):
        return _dataset(path, folders)
    kinds = "weights, the workdir of a run, a prepared corpus, a checkpoint or the folder of a report"
    raise InspectionError(f"{path}: expected {kinds}")


def _verified(folder: Path) -> _Verified:
    """Compare a folder's files with their sums, if it has any."""
    if not sums.has_sums(folder):
        return _Verified(without_sums=(str(folder),))
    damaged = tuple(map(str, sums.verify(folder)))
    return _Verified(damaged=damaged) if damaged else _Verified(intact=(str(folder),))


def _weights(folder: Path) -> Inspection:
    """Inspect a weights directory: its arrays are read, too."""
    found, facts = _verified(folder), {}
    try:
        facts = _facts_of_weights(ancestry.load_meta(folder))
        if not found.damaged:
            weights.load(folder)
    except WeightsError as error:
        found = _Verified(damaged=found.damaged or (str(error),))
    except CalibrationError as error:
        found = _Verified(damaged=found.damaged or (f"{folder}: {error}",))
    return Inspection(folder, WEIGHTS, facts, *found)


def _facts_of_weights(meta: WeightsMeta) -> _Facts:
    chain = lineage.links(meta)
    facts = {
        "AUs": ", ".join(map(au_label, meta.aus)) or "none: initial weights for training",
        "lineage": [f"{number}. {_link(link)}" for number, link in enumerate(chain, 1)],
        "may_be_tested_within": _testable(chain),
        "corpora": [CorpusIdentity.from_dict(values).describe() for values in meta.extra.get("corpora", ())],
        "selection": meta.extra.get("selection", "not recorded"),
        "written_by": f"fgnet_jax {meta.version}",
        **_intensity(meta),
    }
    return facts | ({"note": notice} if (notice := lineage.notice(meta)) else {})


def _intensity(meta: WeightsMeta) -> _Facts:
    """Return which AUs' intensities weights know, and on whom they are calibrated; empty for presence alone.

    Raises:
      CalibrationError: The calibration is damaged.
    """
    fitted = calibration.of_weights(meta.extra, meta.aus)
    if fitted is None:
        return {}
    subjects = ", ".join(f"{corpus} {' '.join(names)}" for corpus, names in fitted.fitted_on.items())
    return {"intensity": f"{', '.join(map(au_label, fitted.aus)) or 'no AU'}; calibrated on {subjects}"}


def _link(link: Link) -> str:
    """Return a step of the lineage as a line."""
    if link.kind == lineage.DISTILLED:
        return _distilled(link)
    if link.kind != lineage.TRAINED:
        parts = [f"{file['file']} (SHA-256 {file['sha256']})" for file in link.files]
        trained = [_corpus(link)] if link.corpus else []
        return ", ".join([f"{link.kind} {link.name}".strip(), *trained, *parts])
    prints = [f"{name} {fingerprint}" for name, fingerprint in link.fingerprints.items()]
    start = f"from weights of SHA-256 {link.weights_sha256}" if link.weights_sha256 else "from scratch or not recorded"
    return ", ".join(
        [
            f"trained {link.name}".strip(),
            _corpus(link),
            f"{_count(link.subjects)} subjects trained on, {_count(link.held_out)} selected on",
            f"fingerprint {'; '.join(prints) or 'not recorded'}",
            f"{link.steps} steps",
            start,
        ]
    )


def _distilled(link: Link) -> str:
    """Return a student's own step as a line: from whom it has learnt, and from how many faces of whom."""
    teachers = [f"{name} (SHA-256 {sha256})" for name, sha256 in link.teachers.items()]
    of_corpus, of_files = (link.faces.get(key, 0) for key in ("corpus", "files"))
    labels = "with labels" if link.corpus else "without labels"
    shown = f"{_corpus(link)} {labels}, {_count(link.subjects)} subjects, {_count(link.held_out)} selected on"
    return ", ".join(
        [
            f"distilled {link.name}".strip(),
            f"from {' and '.join(teachers)}",
            *([f"{of_corpus:,} faces of {shown}"] if link.learnt_corpora else []),
            *([f"{of_files:,} faces of files, whose is not recorded"] if of_files else []),
            f"{link.steps} steps",
        ]
    )


def _corpus(link: Link) -> str:
    fold = "fold left out unknown" if link.fold is None else f"fold {link.fold} left out"
    return f"{'+'.join(link.learnt_corpora) or 'no corpus'} ({fold})"


def _count(subjects: Mapping[str, Sequence[str]]) -> int:
    return sum(map(len, subjects.values()))


def _testable(chain: Sequence[Link]) -> list[str]:
    """Return for each corpus that any step has learnt from which of its folds none has learnt from."""
    names = dict.fromkeys(folds.base_name(name) for link in chain for name in link.learnt_corpora)
    if any(link.hides_corpora for link in chain):
        return ["unknown: what a step has learnt from is not recorded"]
    return [f"{name}: {_folds(chain, name)}" for name in names]


def _folds(chain: Sequence[Link], corpus: str) -> str:
    learnt = [link for link in chain if corpus in map(folds.base_name, link.learnt_corpora)]
    if any(ancestry.needs_fold(link) for link in learnt):
        return UNKNOWN_FOLD
    left_out = {link.fold for link in learnt}
    if None in left_out:
        return UNKNOWN_FOLD
    if len(left_out) > 1:
        return "no fold: each was trained on by one step or another"
    return f"fold {left_out.pop()}"


def _checkpoint(folder: Path) -> Inspection:
    """Inspect the training state of a step."""
    return Inspection(folder, CHECKPOINT, {"step": folder.name}, *_verified(folder))


def _run(workdir: Path) -> Inspection:
    """Inspect the workdir of a run, with its best weights and its checkpoints."""
    documents, damaged = {}, []
    for name in (workdirs.CONFIG, workdirs.CORPORA, workdirs.LINEAGE, "provenance.json", "results.json"):
        try:
            read = workdirs.read_record if name in (workdirs.CORPORA, workdirs.LINEAGE) else workdirs.read_json
            documents[name] = read(workdir / name)
        except ValueError as error:
            damaged.append(str(error))
    parts = [_checkpoint(step) for step in _steps(workdir)]
    if (workdir / "best").is_dir():
        parts.insert(0, _weights(workdir / "best"))
    facts = dict(_facts_of_run(documents))
    if aside := sorted(path.name for path in workdir.glob("checkpoints/*.damaged")):
        facts["put_aside_as_damaged"] = aside
    return Inspection(
        workdir,
        RUN,
        facts,
        intact=tuple(text for part in parts for text in part.intact),
        damaged=(*damaged, *(text for part in parts for text in part.damaged)),
        without_sums=tuple(text for part in parts for text in part.without_sums),
        parts=tuple(parts),
    )


def _steps(workdir: Path) -> list[Path]:
    return sorted((p for p in workdir.glob("checkpoints/*") if p.name.isdecimal()), key=lambda path: int(path.name))


def _facts_of_run(documents: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what the JSON files of a workdir say."""
    if config := documents.get(workdirs.CONFIG):
        data = config["data"]
        corpus = f"{data['corpus']}, fold {data['fold']} left out" if data["corpus"] else "no corpus"
        yield "configuration", f"{config['name']}: {corpus}, seed {config['seed']}"
    if corpora := documents.get(workdirs.CORPORA):
        yield "corpora", [CorpusIdentity.from_dict(values).describe() for values in corpora]
    if results := documents.get("results.json"):
        if "agreement" in results:
            yield (
                "agreement",
                f"{100 * results['agreement']:.1f} % of presences as its teachers', step {results['step']}",
            )
        if "mean_f1" not in results:  # of a student, without a corpus
            return
        icc = results.get(calibration.KEY, {}).get("mean", {}).get("icc")
        figures = f"mean F1 {100 * results['mean_f1']:.1f}" + (f", mean ICC {icc:.3f}" if icc is not None else "")
        yield "results", f"{figures} on {results['split']}, of {results['selection']}"


def _dataset_folders(path: Path) -> list[Path]:
    """Return the folders of prepared corpora in a folder, itself or down to configuration and version."""
    names = (INFO_FILE, FEATURES_FILE, METADATA_FILE)  # one of which may be lost
    found = {file.parent for name in names for depth in ("", "*/", "*/*/") for file in path.glob(depth + name)}
    return sorted(folder for folder in found if not re.search(r"^\.|incomplete\.", folder.name))  # .config is TFDS' own


def _dataset(path: Path, folders: Sequence[Path]) -> Inspection:
    """Inspect the only prepared corpus in a folder: all of its records are read for their sums."""
    if folders[1:]:
        raise InspectionError(f"{path} has several prepared corpora; name one of {', '.join(map(str, folders))}")
    folder = folders[0]
    found = _verified(folder)
    try:
        facts = _facts_of_dataset(folder)
    except (CorpusError, OSError, ValueError, KeyError, TypeError) as error:  # damaged JSON, too
        facts, found = {}, _Verified(damaged=found.damaged or (str(error),))
    return Inspection(path, DATASET, facts, *found)


def _facts_of_dataset(folder: Path) -> _Facts:
    splits = sorted(split["name"] for split in json.loads((folder / INFO_FILE).read_text())["splits"])
    (identity,) = open_directory(folder, splits).identities
    return {
        "AUs": ", ".join(map(au_label, identity.aus)),
        "corpus": identity.describe(),
        "faces": ", ".join(f"{split} {count}" for split, count in sorted(identity.faces.items())),
    }


def _report(folder: Path) -> Inspection:
    """Inspect the folder of an evaluation, whose report records the sums of its files and predictions."""
    try:
        content = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        recorded = content.get("predictions", [])
        damaged = [text for entry in recorded if (text := _damage(folder / entry["file"], entry["sha256"]))]
        damaged += report.damage(folder, content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return Inspection(folder, REPORT, {}, damaged=(f"{folder / 'report.json'} cannot be read: {error}",))
    facts = {"title": content.get("title", ""), "runs": [str(run.get("run")) for run in content.get("runs", ())]}
    if not recorded and report.SHA256 not in content:
        return Inspection(folder, REPORT, facts, without_sums=(str(folder),))
    return Inspection(folder, REPORT, facts, damaged=tuple(damaged), intact=() if damaged else (str(folder),))


def _damage(file: Path, sha256: str) -> str:
    """Return what is wrong with a file, empty if nothing is."""
    if not file.exists():
        return f"{file} is missing"
    return "" if files.sha256(file) == sha256 else f"{file} is damaged (its SHA-256 is another)"
