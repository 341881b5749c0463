"""The command that tells where files come from and whether they are intact, on what training and preparation write."""

import hashlib
import json

import numpy as np
import pytest

from fgnet_jax.data.corpus import find_corpus
from fgnet_jax.data.synthetic import builders
from fgnet_jax.evaluate import inspection, report
from fgnet_jax.metrics import calibration
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import files, sums
from fgnet_jax.train import checkpoints, defaults

PUBLISHED = Link(lineage.CONVERTED, files=({"file": "ffhq.pt", "sha256": "ab" * 32},))
FIRST = Link(
    lineage.TRAINED,
    name="bp4d_f1",
    corpus="bp4d",
    fold=1,
    aus=(1, 12),
    subjects={"bp4d": ["F001", "F002"]},
    held_out={"bp4d": ["M001"]},
    fingerprints={"bp4d/1.0.0": "0123456789ab"},
    steps=7500,
)
SECOND = Link(lineage.TRAINED, name="own_f0", corpus="own", fold=0, aus=(1, 12), subjects={"own": ["a"]}, steps=20)


def save(folder, *chain, corpus="own"):
    """A weights directory with this lineage."""
    extra = {lineage.KEY: [link.to_dict() for link in chain], "selection": "best epoch"}
    weights.save(folder, TINY, fgnet.init(TINY), WeightsMeta(aus=(1, 12), corpus=corpus, extra=extra))
    return folder


def inspect(path, capsys, status=0, *words):
    """The output of the command, which must end with this status."""
    assert inspection.main([str(path), *words]) == status
    return capsys.readouterr()


def flip(file):
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def largest(folder):
    """The largest file below a folder."""
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def test_weights_tell_every_step_from_published_files(tmp_path, capsys):
    """With subjects, fingerprints and steps, and which folds no step has learnt from."""
    lines = inspect(save(tmp_path / "w", PUBLISHED, FIRST, SECOND), capsys).out.splitlines()
    assert f"    1. converted, ffhq.pt (SHA-256 {'ab' * 32})" in lines
    assert "    2. trained bp4d_f1, bp4d (fold 1 left out), 2 subjects trained on, 1 selected on, " in "\n".join(lines)
    assert "fingerprint bp4d/1.0.0 0123456789ab, 7500 steps" in "\n".join(lines)
    at = lines.index("  may be tested within:")
    assert lines[at + 1 : at + 3] == ["    bp4d: fold 1", "    own: fold 0"]
    assert lines[-1] == f"  intact: {tmp_path / 'w'}"


def test_weights_tell_which_intensities_they_know(tmp_path, capsys):
    """And on whom they are calibrated; a damaged calibration is named."""
    fitted = calibration.Calibration({12: (np.array([0.0, 0.2]), np.array([1.0, 4.0]))}, {"own": ["a", "b"]})
    stored = fitted.to_dict()
    for folder, curves in (("w", stored["curves"]), ("broken", {"AU12": {}})):
        meta = WeightsMeta(aus=(1, 12), corpus="own", extra={calibration.KEY: stored | {"curves": curves}})
        weights.save(tmp_path / folder, TINY, fgnet.init(TINY), meta)
    assert "    AU12; calibrated on own a b" in inspect(tmp_path / "w", capsys).out.splitlines()
    printed = inspect(tmp_path / "broken", capsys, 1)
    assert "the weights' calibration of intensities is damaged" in printed.out + printed.err


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ([FIRST, Link(lineage.TRAINED, corpus="bp4d", fold=0, subjects={"bp4d": ["M002"]})], "bp4d: no fold"),
        (
            [Link(lineage.CONVERTED, corpus="disfa", aus=(1, 12))],
            "disfa: unknown: nothing of this corpus can be tested",
        ),
        ([Link(lineage.LOST, name="gone")], "unknown: what a step has learnt from is not recorded"),
    ],
)
def test_folds_that_some_step_has_learnt_from_are_not_offered(chain, expected, tmp_path, capsys):
    """Nor those of a corpus whose fold is not known."""
    assert f"    {expected}" in inspect(save(tmp_path / "w", *chain), capsys).out


def test_rendered_faces_are_noted_and_json_says_the_same(tmp_path, capsys):
    """`--json` has every fact of the text."""
    link = Link(lineage.TRAINED, corpus="synthetic_bp4d", fold=0, aus=(1, 12), subjects={"synthetic_bp4d": ["F001"]})
    folder = save(tmp_path / "w", link, corpus="synthetic_bp4d")
    assert "rendered faces only" in inspect(folder, capsys).out
    values = json.loads(inspect(folder, capsys, 0, "--json").out)
    assert values["kind"] == "weights" and "rendered faces only" in values["note"]
    assert values["intact"] == [str(folder)] and not values["damaged"]


@pytest.mark.parametrize("damage", ["bit", "missing", "metadata"])
def test_damaged_weights_are_named(damage, tmp_path, capsys):
    """The file, as the last line; status 1."""
    folder = save(tmp_path / "w", FIRST)
    file = folder / "meta/model.json" if damage == "metadata" else largest(folder)
    file.unlink() if damage == "missing" else flip(file)
    printed = inspect(folder, capsys, 1)
    assert f"DAMAGED: {file} is " in printed.out
    assert printed.err.splitlines()[-1].startswith(f"fgnet_jax.evaluate.inspection: error: 1 damaged: {file} is ")


def test_weights_of_an_earlier_version_have_no_sums(tmp_path, capsys):
    """Which is said, and no damage."""
    folder = save(tmp_path / "w", FIRST)
    (folder / sums.SUMS_FILE).unlink()
    meta = json.loads((folder / "meta/model.json").read_text())
    files.write_text(folder / "meta/model.json", json.dumps({key: meta[key] for key in WeightsMeta().to_dict()}))
    assert inspect(folder, capsys).out.splitlines()[-1] == f"  no sums, written by an earlier version: {folder}"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """The folder of a tiny corpus' versions, and that of the version."""
    root = tmp_path_factory.mktemp("data")
    builders.prepare_synthetic("synthetic_disfa", root, frames=27)
    return root / "synthetic_disfa", find_corpus("synthetic_disfa", root)


def test_a_dataset_tells_how_it_was_prepared(dataset, capsys):
    """By the corpus' name or the version's folder; a bit of a record is damage, and so is a lost description."""
    for path in dataset:
        printed = inspect(path, capsys).out
        assert f"{path}: dataset" in printed and "fingerprint " in printed and f"  intact: {dataset[1]}" in printed
    shard = largest(dataset[1])
    flip(shard)
    assert f"DAMAGED: {shard} is damaged" in inspect(dataset[0], capsys, 1).out
    flip(shard)
    (dataset[1] / "dataset_info.json").rename(dataset[1] / "elsewhere")
    assert "dataset_info.json is missing" in inspect(dataset[0], capsys, 1).out
    (dataset[1] / "elsewhere").rename(dataset[1] / "dataset_info.json")


def test_a_run_is_its_weights_and_checkpoints(tmp_path, capsys):
    """Every part is verified, and each checkpoint by itself, too."""
    run = tmp_path / "run"
    with checkpoints.open_manager(run / "checkpoints") as manager:
        checkpoints.save_step(manager, 4, {"x": np.arange(1000.0)}, {"best": {}})
    save(run / "best", FIRST)
    files.write_text(run / "config.json", json.dumps(defaults.load_config_file("tiny").get_config().to_dict()))
    step = run / "checkpoints/4"
    printed = inspect(run, capsys).out
    assert f"  intact: {run / 'best'}\n  intact: {step}\n" in printed and "  tiny: synthetic_bp4d, fold 0" in printed
    assert f"{step}: checkpoint" in inspect(step, capsys).out
    flip(largest(step))
    for path in (run, step):
        assert f"DAMAGED: {largest(step)} is damaged" in inspect(path, capsys, 1).out
    files.write_text(run / "config.json", "{")
    assert f"DAMAGED: {run / 'config.json'}: damaged" in inspect(run, capsys, 1).out


def test_a_report_is_its_predictions(tmp_path, capsys):
    """Which are compared with the sums that the report records."""
    table = tmp_path / "predictions/a.parquet"
    table.parent.mkdir()
    table.write_bytes(b"0123456789")
    entry = {"file": "predictions/a.parquet", "sha256": files.sha256(table)}
    files.write_text(tmp_path / "report.json", json.dumps({"title": "DISFA", "predictions": [entry]}))
    assert f"  intact: {tmp_path}" in inspect(tmp_path, capsys).out
    flip(table)
    assert f"DAMAGED: {table} is damaged" in inspect(tmp_path, capsys, 1).out
    table.unlink()
    assert f"DAMAGED: {table} is missing" in inspect(tmp_path, capsys, 1).out


def test_a_report_whose_table_was_changed_is_damaged(tmp_path, capsys):
    """By hand, or by a disk: the table, and a figure in report.json, which has a sum of its own."""
    content = {"title": "DISFA", "mean_f1": 0.381}
    files.write_text(tmp_path / "table.csv", "mean\n38.1\n")
    content |= {report.FILES: {"table.csv": files.sha256(tmp_path / "table.csv")}}
    own_sum = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    text = json.dumps(content | {report.SHA256: own_sum})
    files.write_text(tmp_path / "report.json", text)
    assert f"  intact: {tmp_path}" in inspect(tmp_path, capsys).out
    files.write_text(tmp_path / "report.json", text.replace("0.381", "0.991"))
    assert f"DAMAGED: {tmp_path / 'report.json'} was changed" in inspect(tmp_path, capsys, 1).out
    files.write_text(tmp_path / "report.json", text)
    files.write_text(tmp_path / "table.csv", "mean\n99.1\n")
    assert f"DAMAGED: {tmp_path / 'table.csv'} was changed" in inspect(tmp_path, capsys, 1).out


def test_anything_else_is_refused(tmp_path, capsys):
    """With status 2."""
    assert "expected weights, the workdir of a run" in inspect(tmp_path, capsys, 2).err
    assert "no such folder" in inspect(tmp_path / "nowhere", capsys, 2).err
