"""The folder of a run: one training at a time, with the corpora that the run was begun with."""

import json
import os
import signal
import subprocess
import sys

import pytest

from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.models.lineage import TRAINED, Link
from fgnet_jax.train import workdirs
from fgnet_jax.train.config import ConfigError

_HOLD = """
import sys
from pathlib import Path
from fgnet_jax.train import workdirs
with workdirs.held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_workdir_is_held_by_one_process_at_a_time(tmp_path):
    """The second names the first; after kill -9 it is free at once."""
    workdir = tmp_path / "run"
    command = [sys.executable, "-c", _HOLD, str(workdir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        message = (
            rf"^{workdir} is in use by process {process.pid} on .*, since .*: wait until that training ends, or give"
        )
        with pytest.raises(ConfigError, match=message), workdirs.held(workdir):
            pass
        assert workdir.is_dir(), "it belongs to the other process"
        process.send_signal(signal.SIGKILL)
        process.wait()
    with workdirs.held(workdir):
        assert json.loads((workdir / ".lock").read_text())["pid"] == os.getpid()


def test_a_run_that_is_refused_leaves_no_workdir(tmp_path):
    """Nor folders above it; what was there before stays, and so does a run that has begun."""
    (tmp_path / "runs/empty").mkdir(parents=True)
    for name in ("runs/new", "others/deep/new", "runs/empty"):
        with pytest.raises(ConfigError, match="refused"), workdirs.held(tmp_path / name):
            (tmp_path / name / "checkpoints").mkdir()
            raise ConfigError("refused")
    assert sorted(os.listdir(tmp_path)) == ["runs"] and os.listdir(tmp_path / "runs") == ["empty"]
    with pytest.raises(ConfigError, match="later"), workdirs.held(tmp_path / "run"):
        (tmp_path / "run/config.json").write_text("{}")
        raise ConfigError("later")
    assert (tmp_path / "run/config.json").exists()


def test_a_weights_directory_is_no_workdir(tmp_path):
    """Its path would mean the run's weights from then on, and other numbers come of the same command."""
    weights.save(tmp_path / "teacher", TINY, fgnet.init(TINY), weights.WeightsMeta())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="teacher is a weights directory"), workdirs.held(tmp_path / "teacher"):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def _identity(threshold, aus=(1, 2, 12)):
    return CorpusIdentity.of("disfa/1.0.0", aus=aus, preparation={"threshold": threshold}, faces={"fold_0": 3})


def _begin(workdir, *corpora):
    (workdir / "config.json").write_text("{}")
    workdirs.write_record(workdir / "corpora.json", [corpus.to_dict() for corpus in corpora])


def test_a_corpus_that_was_prepared_anew_is_refused(tmp_path):
    """With what differs: a threshold, the order of AUs; another number of corpora, too."""
    _begin(tmp_path, _identity(2))
    assert workdirs.check_corpora(tmp_path, [_identity(2)]) == ""
    for now, message in {
        (_identity(3),): r"\n  disfa/1.0.0: preparation.threshold: 2 then, 3 now",
        (_identity(2, (2, 1, 12)),): r"\n  disfa/1.0.0: aus: \[1, 2, 12\] then, \[2, 1, 12\] now",
        (_identity(2), _identity(3)): r"\n  corpora: disfa/1.0.0 then, disfa/1.0.0, disfa/1.0.0 now",
    }.items():
        with pytest.raises(ConfigError, match="begun with another preparation") as refused:
            workdirs.check_corpora(tmp_path, now)
        refused.match(message)


def test_a_run_begun_before_corpora_were_recorded_is_resumed(tmp_path):
    """A line says that they could not be compared; a new workdir has nothing to compare."""
    assert workdirs.check_corpora(tmp_path, [_identity(2)]) == ""
    (tmp_path / "config.json").write_text("{}")
    assert "was begun before corpora were recorded" in workdirs.check_corpora(tmp_path, [_identity(2)])


def test_lineage_counts_once_a_run_has_begun(tmp_path):
    """What a start that failed has left is not this run's."""
    link = Link(kind=TRAINED, name="run", corpus="disfa", fold=0, subjects={"disfa": ["SN001"]}, weights_sha256="ab")
    workdirs.write_record(tmp_path / "lineage.json", [link.to_dict()])
    assert workdirs.read_lineage(tmp_path) == ()
    (tmp_path / "config.json").write_text("{}")
    assert workdirs.read_lineage(tmp_path) == (link,)


def test_a_record_that_was_changed_is_refused(tmp_path):
    """Also where it is JSON as before: a fold that is another, a link that is missing."""
    link = Link(kind=TRAINED, name="run", corpus="disfa", fold=0, subjects={"disfa": ["SN001", "SN002"]})
    (tmp_path / "config.json").write_text("{}")
    path = tmp_path / "lineage.json"
    workdirs.write_record(path, [link.to_dict(), link.to_dict()])
    written = path.read_text()
    record = json.loads(written)
    for text in (
        written.replace('"fold": 0', '"fold": 1', 1),
        json.dumps(record | {"entries": record["entries"][:1]}),
        json.dumps(record["entries"]),
    ):
        assert text != written
        path.write_text(text)
        with pytest.raises(ConfigError, match="lineage.json: damaged"):
            workdirs.read_lineage(tmp_path)


@pytest.mark.parametrize("text", ["", "null", '[{"name": 1', "[3]", "3", '[{"kind": 0, "aus": 3}]'])
def test_a_damaged_file_is_named(tmp_path, text):
    """In one line, with what to do."""
    for name in ("config.json", "corpora.json", "lineage.json"):
        (tmp_path / name).write_text(text)
    for read in (workdirs.read_lineage, lambda workdir: workdirs.check_corpora(workdir, [_identity(2)])):
        with pytest.raises(ConfigError, match=r"^\S*/(corpora|lineage)\.json: damaged.*give another folder$"):
            read(tmp_path)


def test_only_finished_checkpoints_count(tmp_path):
    """Not what Orbax was writing when it was killed, and not what was put aside as damaged."""
    for name in ("2.orbax-checkpoint-tmp-1", "2.damaged"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        assert not workdirs.has_checkpoint(tmp_path)
    (tmp_path / "checkpoints/2").mkdir()
    assert workdirs.has_checkpoint(tmp_path)
