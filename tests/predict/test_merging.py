"""Prediction in parts: merged, they are the bytes of one run; what is missing or of something else is named."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.predict import __main__ as predict
from fgnet_jax.predict import result_table, sharing
from fgnet_jax.predict.record_files import RecordFiles
from fgnet_jax.runtime.shards import Shard
from tests.media.test_video import write_video

SIDE = TINY.image_size


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[str]:
    """Return images of which two have one name, a broken one, an absent one, and a video of nine frames."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    paths = [folder / name for name in ("x/a.png", "b.png", "v.mp4", "absent.png", "broken.png", "y/a.png", "c.png")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".png" and path.name not in ("absent.png", "broken.png"):
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(path)
    paths[4].write_text("no image")
    write_video(paths[2], [np.full((SIDE, SIDE, 3), 20 * k, np.uint8) for k in range(9)])
    return [str(path) for path in paths]


def run(directory, inputs, *words: object) -> int:
    """Run the command on aligned faces."""
    given = ["--weights", directory, "--aligned", "--batch_size", "4", *words, *inputs]
    return predict.main([str(word) for word in given])


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder but the shards' own and the records."""
    names = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    records = (".csv.json", ".parquet.json")
    return {n: path.read_bytes() for n, path in names.items() if ".shard-" not in n and not n.endswith(records)}


def record_of(path: Path) -> dict:
    """Read a record without what differs between any two runs."""
    record = json.loads(path.read_text())
    return {key: value for key, value in record.items() if key not in ("arguments", "time", "git")}


FLAGS = {
    "csv": ("--csv", "r.csv", "--overlays", "drawn", "--aligned_faces", "faces", "--peaks"),
    "parquet": ("--csv", "r.parquet", "--heatmaps", "r.npz"),
    "smooth": ("--csv", "r.csv", "--smooth", "--every", "2"),
    "libreface": ("--csv", "r.csv", "--dialect", "libreface", "--heatmaps", "r.npz"),
    "openface": ("--csv", "r.csv", "--dialect", "openface", "--heatmaps", "r.npz", "--heatmaps_on", "image"),
    "zarr": ("--csv", "r.csv", "--heatmaps", "r.zarr"),
}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_merged_shards_are_the_bytes_of_one_run(directory, inputs, tmp_path, monkeypatch, flags):
    """Table, JSON, archive, drawings and aligned faces, with the same names; in any order."""
    for name in ("one", "parts"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    assert run(directory, inputs, *flags) == 0
    monkeypatch.chdir(tmp_path / "parts")
    for number in (2, 3, 1):
        assert run(directory, inputs, *flags, "--shard", f"{number}/3") == 0
    assert run(directory, inputs, *flags, "--merge") == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "one")
    table = flags[1]
    assert record_of(tmp_path / f"parts/{table}.json") == record_of(tmp_path / f"one/{table}.json")


@pytest.mark.parametrize("count", [1, 7, 20])
def test_any_number_of_shards(directory, inputs, tmp_path, monkeypatch, capsys, count):
    """Those that have no inputs have nothing to do, and are not missing."""
    monkeypatch.chdir(tmp_path)
    assert run(directory, inputs, "--csv", "one.csv") == 0
    for number in range(1, count + 1):
        assert run(directory, inputs, "--csv", "r.csv", "--shard", f"{number}/{count}") == 0
    assert ("has none of the 7 inputs: nothing to do" in capsys.readouterr().err) == (count == 20)
    assert run(directory, inputs, "--csv", "r.csv", "--merge") == 0
    assert (tmp_path / "r.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert run(directory, inputs, "--csv", "r.csv", "--merge") == 2
    assert "r.csv exists" in capsys.readouterr().err
    assert run(directory, inputs, "--csv", "r.csv", "--merge", "--overwrite") == 0


def test_tables_of_each_input_are_those_of_one_run(directory, inputs, tmp_path, monkeypatch, capsys):
    """Shards write them into one folder; merging names what is not there yet."""
    monkeypatch.chdir(tmp_path)
    assert run(directory, inputs, "--per_input", "one") == 0
    assert run(directory, inputs, "--per_input", "parts", "--shard", "1/2") == 0
    assert run(directory, inputs, "--per_input", "parts", "--merge") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "parts is not complete: no finished table of " in message and f"{inputs[-1]}; run" in message
    assert run(directory, inputs, "--per_input", "parts", "--shard", "2/2") == 0
    assert run(directory, inputs, "--per_input", "parts", "--merge") == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "one")
    for path in (tmp_path / "one").glob("*.json"):
        own, expected = record_of(tmp_path / "parts" / path.name), record_of(path)
        assert own | {"input_count": 0} == expected | {"input_count": 0}


def test_an_input_that_is_given_twice_is_in_two_shards(directory, inputs, tmp_path, monkeypatch):
    """With --resume from the start, as arrays of jobs have it: the other's table is not taken for its own."""
    monkeypatch.chdir(tmp_path)
    Path("b.png").write_bytes(Path(inputs[1]).read_bytes())
    twice = ["b.png", "b.png"]
    for number in (1, 2):
        assert run(directory, twice, "--per_input", "parts", "--shard", f"{number}/2", "--resume") == 0
    assert run(directory, twice, "--per_input", "parts", "--merge") == 0
    assert sorted(path.name for path in Path("parts").glob("*.csv")) == ["b-2.csv", "b.csv"]


def test_missing_and_unfinished_shards_are_named(directory, inputs, tmp_path, monkeypatch, capsys):
    """And nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert run(directory, inputs, "--csv", "r.csv", "--merge") == 2
    assert "--merge: expected r.shard-1-of-8.csv and the like: none" in capsys.readouterr().err
    for number in (1, 3):
        assert run(directory, inputs, "--csv", "r.csv", "--shard", f"{number}/4") == 0
    record = json.loads(Path("r.shard-3-of-4.csv.json").read_text())
    Path("r.shard-3-of-4.csv.json").write_text(json.dumps(record | {"complete": False}))
    assert run(directory, inputs, "--csv", "r.csv", "--merge") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "shard 3/4 has not finished (r.shard-3-of-4.csv), shard 4/4 is missing (r.shard-4-of-4.csv)" in message
    assert "--shard and --resume for these" in message and not Path("r.csv").exists()
    assert run(directory, inputs, "--csv", "r.csv", "--shard", "1/2") == 0
    assert run(directory, inputs, "--csv", "r.csv", "--merge") == 2
    assert "shards of 2 and of 4: remove those of the others" in capsys.readouterr().err


@pytest.fixture
def halves(directory, inputs, tmp_path, monkeypatch):
    """Predict two shards in a folder that is the working one; the second is to be changed."""
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert run(directory, inputs, "--csv", "r.csv", "--shard", f"{number}/2") == 0
    return tmp_path


def test_shards_of_other_settings_are_refused(halves, directory, inputs, capsys):
    """Of one shard, or of the command that merges."""
    assert run(directory, inputs, "--csv", "r.csv", "--merge", "--every", "2") == 2
    assert "r.shard-1-of-2.csv cannot be merged" in (error := capsys.readouterr().err) and "every: 1 there, 2" in error
    words = ("--csv", "r.csv", "--shard", "2/2", "--overwrite", "--smooth")
    assert run(directory, inputs, *words) == 0 and run(directory, inputs, "--csv", "r.csv", "--merge") == 2
    assert (
        "r.shard-2-of-2.csv cannot be merged, it was written with other settings (smoothing" in capsys.readouterr().err
    )
    assert not (halves / "r.csv").exists()


def test_shards_of_other_weights_are_refused(halves, directory, inputs, tmp_path, capsys):
    """Of one shard, or of the command that merges."""
    other, (_, _, meta) = tmp_path / "weights", weights.load(directory)
    weights.save(other, TINY, fgnet.init(TINY, seed=1), meta)
    assert run(other, inputs, "--csv", "r.csv", "--merge") == 2
    assert "r.shard-1-of-2.csv cannot be merged, it was written with other weights" in capsys.readouterr().err
    assert run(other, inputs, "--csv", "r.csv", "--shard", "2/2", "--overwrite") == 0
    assert run(directory, inputs, "--csv", "r.csv", "--merge") == 2
    assert "r.shard-2-of-2.csv cannot be merged, it was written with other settings (weights" in capsys.readouterr().err


def test_shards_of_other_inputs_are_refused(halves, directory, inputs, tmp_path, capsys):
    """Another list, and a file that has changed since."""
    assert run(directory, inputs[:-1], "--csv", "r.csv", "--merge") == 2
    assert "cannot be merged: its inputs are others than those of this command" in capsys.readouterr().err
    changed = tmp_path / "inputs"
    changed.mkdir()
    copies = [str(changed / f"{k}{Path(path).suffix}") for k, path in enumerate(inputs)]
    for path, copy in zip(inputs, copies, strict=True):
        if os.path.exists(path):
            Path(copy).write_bytes(Path(path).read_bytes())
    for number in (1, 2):
        assert run(directory, copies, "--csv", "s.csv", "--shard", f"{number}/2") == 0
    Path(copies[1]).write_bytes(Path(inputs[0]).read_bytes() + b" ")
    assert run(directory, copies, "--csv", "s.csv", "--merge") == 2
    assert f"s.shard-1-of-2.csv cannot be merged: {copies[1]} has changed" in capsys.readouterr().err


def test_shards_with_other_results_are_refused(halves, directory, inputs, capsys):
    """An archive of an earlier run may be in their place; a table with other columns has no traceback."""
    assert run(directory, inputs, "--csv", "r.csv", "--merge", "--overlays", "drawn") == 2
    assert "r.shard-1-of-2.csv cannot be merged: it was written without --overlays" in capsys.readouterr().err
    for number in (1, 2):
        shard = ("--csv", "r.csv", "--shard", f"{number}/2", "--overwrite")
        assert run(directory, inputs, *shard, "--heatmaps", "r.npz") == 0
    assert run(directory, inputs, "--csv", "r.csv", "--merge") == 2
    assert "r.shard-1-of-2.csv cannot be merged: it was written with --heatmaps" in capsys.readouterr().err
    assert run(directory, inputs, *shard) == 0
    assert run(directory, inputs, "--csv", "r.csv", "--heatmaps", "r.npz", "--merge") == 2
    assert "r.shard-2-of-2.csv cannot be merged: it was written without --heatmaps" in capsys.readouterr().err
    assert not (halves / "r.npz").exists() and not (halves / "r.csv").exists()


def test_nothing_of_an_earlier_run_stays_beside_a_merged_table(halves, directory, inputs, monkeypatch):
    """Neither its record, where merging is killed on the way, nor its rows, which --resume would go on from."""
    assert run(directory, inputs, "--csv", "r.csv", "--every", "2") == 0

    def killed(*arguments: object, **options: object) -> None:
        assert Path("r.csv").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(RecordFiles, "write", killed)
    assert run(directory, inputs, "--csv", "r.csv", "--merge", "--overwrite") == 130
    monkeypatch.undo()
    monkeypatch.chdir(halves)
    assert not Path("r.csv.json").exists()
    words = ("--csv", "l.csv", "--dialect", "libreface")
    assert run(directory, inputs, *words, "--shard", "1/1") == 0
    Path("l.csv.rows.csv").write_text("rows of a run that was killed")
    assert run(directory, inputs, *words, "--merge", "--overwrite") == 0
    assert not Path("l.csv.rows.csv").exists()
    assert run(directory, inputs, "--csv", f"{halves}//r.csv", "--merge", "--overwrite") == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--shard", "1/2"), "--shard: --csv FILE or --per_input DIR is missing"),
        (("--merge",), "--merge: --csv FILE or --per_input DIR is missing"),
        (("--csv", "r.csv", "--shard", "1/2", "--merge"), "one or the other"),
        (("--csv", "r.csv", "--shard", "1/2", "--video", "v.mp4"), "--video is drawn of a single input"),
        (("--csv", "r.csv", "--merge", "--resume"), "--resume does not apply"),
        (("--per_input", "r", "--heatmaps", "r.npz", "--shard", "1/2"), "--heatmaps of all inputs needs one table"),
        (("--per_input", "r", "--heatmaps", "r.npz", "--merge"), "--heatmaps of all inputs needs one table"),
    ],
)
def test_what_cannot_be_shared_is_refused(directory, inputs, capsys, words, reason):
    """Before anything is read."""
    assert run(directory, inputs, *words) == 2
    assert reason in capsys.readouterr().err


def test_people_are_not_numbered_by_parts(directory, inputs, capsys):
    """Identities are of all inputs."""
    words = ["--weights", str(directory), "--csv", "r.csv", "--identities", "--shard", "1/2", *inputs]
    assert predict.main(words) == 2
    assert "--identities numbers people over all inputs" in capsys.readouterr().err


def test_parquet_tables_are_joined_in_the_same_row_groups(tmp_path, monkeypatch):
    """As if all rows had been written to one table, whatever the parts' lengths."""
    from fgnet_jax.predict.columns import ResultRow, table_columns

    monkeypatch.setattr(result_table, "_GROUP", 7)
    columns = table_columns((1, 2))
    rng = np.random.default_rng(0)
    rows = [ResultRow(f"{k}.png", 1, None, scores=rng.normal(size=2), present=rng.random(2) > 0.5) for k in range(40)]
    rows[3] = ResultRow("3.png", 1, None)

    def write(name, chosen):
        with result_table.open_table(tmp_path / name, columns) as table:
            for row in chosen:
                table.add([row])
        return str(tmp_path / name)

    write("one.parquet", rows)
    parts = [write(f"{k}.parquet", rows[slice(*ends)]) for k, ends in enumerate(((0, 5), (5, 5), (5, 33), (33, 40)))]
    result_table.join(tmp_path / "joined.parquet", parts, columns)
    assert (tmp_path / "joined.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


def test_shards_have_about_as_many_frames(inputs, monkeypatch):
    """A video counts as many images, by its size."""
    from fgnet_jax.media import sources

    found = sources.find(inputs[::-1])
    for frames, expected in ((1, [3, 4]), (9, [4, 3])):
        monkeypatch.setattr(sharing, "_FRAME_BYTES", os.path.getsize(inputs[2]) // frames)
        assert [len(sharing.part_of(found, Shard(number=k, count=2))) for k in (1, 2)] == expected
    assert sharing.named("a/out.csv", Shard(number=2, count=8)) == "a/out.shard-2-of-8.csv"
    assert sharing.named("maps.zarr/", Shard(number=2, count=8)) == "maps.shard-2-of-8.zarr"


def test_faces_have_the_numbers_of_one_run(directory, tmp_path, monkeypatch):
    """Of a video with two faces, and of images: numbers begin anew with every input."""
    from skimage import data

    monkeypatch.chdir(tmp_path)
    photo = np.asarray(Image.fromarray(data.astronaut()).resize((256, 256)))
    both = np.concatenate([photo, photo], 1)
    for name in ("a.png", "b.png"):
        Image.fromarray(both).save(name)
    write_video(tmp_path / "v.mp4", [both] * 3)
    words = ["--weights", str(directory), "--batch_size", "4", "a.png", "v.mp4", "b.png", "--csv"]
    assert predict.main([*words, "one.csv"]) == 0
    for number in (1, 2, 3):
        assert predict.main([*words, "r.csv", "--shard", f"{number}/3"]) == 0
    assert predict.main([*words, "r.csv", "--merge"]) == 0
    assert (tmp_path / "r.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert [line.split(",")[3] for line in (tmp_path / "r.csv").read_text().splitlines()[1:]] == ["0", "1"] * 5


_SLOWLY = """
import sys, time
from fgnet_jax.predict import __main__ as predict
from fgnet_jax.predict.outputs import OpenOutputs
write = OpenOutputs.write
def slowly(self, *given):
    time.sleep(0.3)
    return write(self, *given)
OpenOutputs.write = slowly
sys.exit(predict.main(sys.argv[1:]))
"""


def test_a_killed_shard_is_resumed(directory, inputs, tmp_path, monkeypatch, capsys):
    """After SIGKILL within a video: named as not finished; resumed, the merged table is that of one run."""
    monkeypatch.chdir(tmp_path)
    assert run(directory, inputs, "--csv", "one.csv") == 0
    words = ["--weights", str(directory), "--aligned", "--batch_size", "4", "--csv", "r.csv", "--shard", "1/2", *inputs]
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOWLY, *words], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    table, deadline = tmp_path / "r.shard-1-of-2.csv", time.monotonic() + 120
    while (not table.exists() or table.read_bytes().count(b"\n") < 6) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert run(directory, inputs, "--csv", "r.csv", "--shard", "2/2") == 0
    assert run(directory, inputs, "--csv", "r.csv", "--merge") == 2
    assert "shard 1/2 has not finished" in capsys.readouterr().err
    assert run(directory, inputs, "--csv", "r.csv", "--shard", "1/2", "--resume") == 0
    assert "resuming after " in capsys.readouterr().err
    assert run(directory, inputs, "--csv", "r.csv", "--merge") == 0
    assert (tmp_path / "r.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
