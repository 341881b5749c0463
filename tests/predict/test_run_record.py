"""The JSON beside a table: written whole, read again, and compared when a run is resumed."""

import json

import pytest

from fgnet_jax.faces.finder import FinderOptions
from fgnet_jax.predict import run_record

RECORD = {"version": "1", "aus": (1, 2), "thresholds": {"AU01": 0.0}, "device": {"kind": "cpu"}, "complete": False}


def test_the_record_is_beside_the_table(tmp_path):
    """Read it as it was written."""
    run_record.write(tmp_path / "out.csv", RECORD)
    assert json.loads((tmp_path / "out.csv.json").read_text())["aus"] == [1, 2]
    assert run_record.read(tmp_path / "out.csv") == json.loads(json.dumps(RECORD))
    assert run_record.read(tmp_path / "other.csv") is None


def test_names_that_are_no_text_are_kept(tmp_path):
    """Escaped, as the table has them."""
    run_record.write(tmp_path / "out.csv", RECORD | {"arguments": ["b\udcff.png", "ü.png"]})
    assert (run_record.read(tmp_path / "out.csv") or {})["arguments"] == ["b\\xff.png", "ü.png"]
    assert "ü.png" in (tmp_path / "out.csv.json").read_text(encoding="utf-8")


def test_the_same_settings_may_resume_elsewhere(tmp_path):
    """Allow another device, other versions and other arguments, and inputs that are better known."""
    run_record.write(tmp_path / "out.csv", RECORD)
    former = run_record.read(tmp_path / "out.csv") or {}
    other = {"device": {"kind": "gpu"}, "arguments": ["x"], "versions": {"av": "19.0"}, "git": {"commit": "0a"}}
    other |= {"inputs": {"a.mp4": {"sha256": "0b"}}, "time": "2026-01-01", "table_bytes": 7, "weights_sums": "0c"}
    run_record.check_same(tmp_path / "out.csv", former, RECORD | other)


def test_a_table_of_an_earlier_version_is_resumed(tmp_path):
    """It does not say what the weights have learnt from; their checksum is compared."""
    run_record.write(tmp_path / "out.csv", RECORD)
    former = run_record.read(tmp_path / "out.csv") or {}
    run_record.check_same(tmp_path / "out.csv", former, RECORD | {"learnt_from": "rendered faces only"})


def test_other_settings_are_refused_by_name(tmp_path):
    """Name all that differ."""
    run_record.write(tmp_path / "out.csv", RECORD)
    former = run_record.read(tmp_path / "out.csv") or {}
    with pytest.raises(run_record.RunRecordError, match=r"aus: \[1, 2\] there, \[1\] now; every: None there, 2 now"):
        run_record.check_same(tmp_path / "out.csv", former, RECORD | {"aus": [1], "every": 2})


def test_a_table_begun_with_another_detector_is_not_resumed(tmp_path):
    """An earlier version's, whose record names dlib's, without a least confidence; and one with another of these."""
    earlier = {"detector": "dlib's frontal face detector", "faces": "all"}
    run_record.write(tmp_path / "out.csv", RECORD | {"detector": earlier})
    former = run_record.read(tmp_path / "out.csv") or {}
    for options in (FinderOptions(), FinderOptions(detector="dlib")):
        with pytest.raises(run_record.RunRecordError, match="other settings .detector: .*dlib's frontal face detector"):
            run_record.check_same(tmp_path / "out.csv", former, RECORD | {"detector": options.describe()})
    run_record.write(tmp_path / "out.csv", RECORD | {"detector": FinderOptions().describe()})
    former = run_record.read(tmp_path / "out.csv") or {}
    with pytest.raises(run_record.RunRecordError, match="min_confidence.: 0.1"):
        other = FinderOptions(min_confidence=0.1).describe()
        run_record.check_same(tmp_path / "out.csv", former, RECORD | {"detector": other})


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_other_files_are_refused(tmp_path, text):
    """Name the file."""
    (tmp_path / "out.csv.json").write_text(text)
    with pytest.raises(run_record.RunRecordError, match="out.csv.json: not the JSON"):
        run_record.read(tmp_path / "out.csv")
