"""Corpora of one's own with any number of folds, down to a subject per fold."""

import json

import pytest

from fgnet_jax.data.corpus import corpus_folds, open_corpus
from fgnet_jax.prepare import __main__ as prepare
from tests.prepare.corpora import own_arguments, own_table, report_of


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Seven subjects with two frames each."""
    return own_table(tmp_path_factory.mktemp("own"), subjects=7)


def _subjects(data, fold, name="mine"):
    return sorted(set(open_corpus(name, data, f"fold_{fold}").subjects().tolist()))


def test_a_fold_for_each_subject(table, tmp_path, capsys):
    """Splits, report and metadata say so; the same command again has nothing to do, another number is refused."""
    data = tmp_path / "data"
    assert prepare.main(own_arguments(table, data, "--folds", "subjects")) == 0
    assert corpus_folds("mine", data) == tuple(range(7))
    assert [_subjects(data, fold) for fold in range(7)] == [[f"p{k}"] for k in range(7)]
    report = report_of(data, "mine")
    assert report["options"]["folds"] == "subjects" and len(report["folds"]) == 7
    text = (data / "reports/mine/report.txt").read_text()
    assert "fold_6 " in text and "lowest" in text and "0.000 in fold_0" in text and "1.000 in fold_1" in text
    assert max(map(len, text.splitlines())) < 120
    assert prepare.main(own_arguments(table, data, "--folds", "subjects")) == 0
    assert "prepared already" in capsys.readouterr().err
    assert prepare.main(own_arguments(table, data, "--folds", "4")) == 2
    assert "folds: 'subjects' in the dataset, 4 now" in capsys.readouterr().err


def test_a_number_of_folds(table, tmp_path):
    """Subjects are assigned in turn; three is what there is without the option, with the same fingerprint."""
    assert prepare.main(own_arguments(table, tmp_path / "five", "--folds", "5")) == 0
    assert corpus_folds("mine", tmp_path / "five") == (0, 1, 2, 3, 4)
    assert _subjects(tmp_path / "five", 1) == ["p1", "p6"]
    identities = []
    for name, words in (("three", ["--folds", "3"]), ("usual", [])):
        assert prepare.main(own_arguments(table, tmp_path / name, *words)) == 0
        identities.append(open_corpus("mine", tmp_path / name, "fold_0").identities)
    assert identities[0] == identities[1] and "folds" not in identities[0][0].preparation


def test_a_partition_of_any_number_of_lists(table, tmp_path):
    """Subjects that it lacks are left out."""
    file = tmp_path / "folds.json"
    file.write_text(json.dumps([["p6", "p0"], ["p1"], ["p2"], ["p3", "p4"]]))
    assert prepare.main(own_arguments(table, tmp_path / "data", "--partition", str(file))) == 0
    assert corpus_folds("mine", tmp_path / "data") == (0, 1, 2, 3)
    assert _subjects(tmp_path / "data", 0) == ["p0", "p6"] and report_of(tmp_path / "data", "mine")["faces"] == 12


def test_a_column_of_folds(tmp_path):
    """As they are numbered there; --folds has it not read, and says so."""
    root = own_table(tmp_path / "own", subjects=4, folds=(1, 2, 3, 4))
    assert prepare.main(own_arguments(root, tmp_path / "data")) == 0
    assert corpus_folds("mine", tmp_path / "data") == (1, 2, 3, 4)
    assert prepare.main(own_arguments(root, tmp_path / "two", "--folds", "2")) == 0
    assert corpus_folds("mine", tmp_path / "two") == (0, 1)
    assert "column 'fold' is not read: --folds 2 says otherwise" in report_of(tmp_path / "two", "mine")["notes"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "8"], "--folds 8, of a table with 7 subjects: expected 2 folds or more, each with one"),
        (["--folds", "1"], "expected 2 or more, or subjects, got '1'"),
        (["--folds", "2", "--partition", "{file}"], "--folds and --partition: one or the other"),
        (["--partition", "{one}"], "has 1 lists: expected two or more lists of subjects"),
    ],
)
def test_folds_that_cannot_be_made_are_refused(table, tmp_path, capsys, words, message):
    """With status 2, before any work."""
    files = {"file": tmp_path / "file.json", "one": tmp_path / "one.json"}
    files["file"].write_text('[["p0"], ["p1"]]')
    files["one"].write_text('[["p0"]]')
    arguments = own_arguments(table, tmp_path / "data", *(word.format(**files) for word in words))
    try:
        status = prepare.main(arguments)
    except SystemExit as ended:  # of the command line's parser
        status = ended.code
    assert status == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_published_corpora_keep_three_folds(table, tmp_path, capsys):
    """By their names, whatever the table or the partition says."""
    root = own_table(tmp_path / "own", subjects=2)
    text = (root / "table.csv").read_text().replace("p0", "SN001").replace("p1", "SN002")
    (root / "table.csv").write_text(text)
    assert prepare.main(own_arguments(root, tmp_path / "data", "--folds", "2", name="disfa")) == 2
    assert "--name disfa has published folds" in capsys.readouterr().err
    header, *rows = text.splitlines()
    lines = [f"{header},fold", *(f"{row},{3 if 'SN001' in row else 0}" for row in rows)]
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    assert prepare.main(own_arguments(root, tmp_path / "data", "--folds", "2", name="disfa")) == 2
    assert "--folds 2: disfa has three published folds; choose another --name" in capsys.readouterr().err
    assert prepare.main(own_arguments(root, tmp_path / "data", name="disfa")) == 2
    assert "--name disfa: there are subjects in fold 3: expected 0 to 2" in capsys.readouterr().err
    (tmp_path / "folds.json").write_text('[["SN001"], ["SN002"]]')
    words = ["--partition", str(tmp_path / "folds.json")]
    assert prepare.main(own_arguments(root, tmp_path / "data", *words, name="disfa")) == 2
    assert "has 2 lists: expected 3 lists of subjects" in capsys.readouterr().err
    assert corpus_folds("disfa/left", tmp_path) == corpus_folds("synthetic_bp4d", tmp_path) == (0, 1, 2)
