"""From the corpora's original files to the published tables by the commands alone, on miniature corpora."""

import json
import subprocess
import sys

import pyarrow.parquet
import pytest

from fgnet_jax.aus import CORPUS_AUS, SHARED_AUS
from fgnet_jax.aus import label as au_label
from tests import miniature
from tests.end_to_end.command import ROOT

pytestmark = pytest.mark.slow  # whole protocols


@pytest.fixture(scope="module")
def command(train):
    """Return a function that runs one of the package's commands, which must succeed, and returns its output."""

    def run(module: str, *words: str) -> str:
        line = [sys.executable, "-m", f"fgnet_jax.{module}", *words]
        done = subprocess.run(line, cwd=ROOT, env=train.environment(), capture_output=True, text=True)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def folder(command, train, tmp_path_factory):
    """Prepare both corpora, and train on every fold of each."""
    root = tmp_path_factory.mktemp("corpora")
    for corpus, make in (("disfa", miniature.disfa), ("bp4d", miniature.bp4d)):
        mini = make(root / "owners")
        words = ["--source", str(mini.root), "--landmarks", str(mini.landmarks), "--data_dir", str(root / "data")]
        command("prepare", corpus, *words)
        for fold in range(3):
            changes = [f"data.corpus={corpus}", f"data.fold={fold}", f"data.dir={root / 'data'}", "train.epochs=1"]
            train(root / "runs" / f"{corpus}_f{fold}", *(f"--config.{change}" for change in changes))
    return root


def _report(folder) -> dict:
    return json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize("corpus", ["disfa", "bp4d"])
def test_within_over_three_folds(command, folder, corpus):
    """Test every prepared frame once, and print the paper's columns with the mean beside them."""
    output = folder / f"within_{corpus}"
    words = ["within", "--corpus", corpus, "--runs", str(folder / f"runs/{corpus}_f*"), "--output", str(output)]
    printed = command("evaluate", "protocol", *words, "--data_dir", str(folder / "data"), "--resamples", "20")
    assert f"FG-Net, {corpus.upper()}" in printed and "mean of folds, by frames" in printed
    saved = _report(output)
    assert list(saved["aus"]) == [au_label(au) for au in CORPUS_AUS[corpus]]
    tables = [pyarrow.parquet.read_table(path) for path in sorted((output / "predictions").iterdir())]
    assert len(tables) == 3 and sum(map(len, tables)) == sum(row["runs"][0]["frames"] for row in saved["rows"][:3])


@pytest.mark.parametrize(("source", "target"), [("bp4d", "disfa"), ("disfa", "bp4d")])
def test_across_corpora(command, folder, source, target):
    """Match AUs by name, and print the published row beside them."""
    output = folder / f"{source}_to_{target}"
    words = ["cross", "--source", source, "--target", target, "--runs", str(folder / f"runs/{source}_f*")]
    more = ["--data_dir", str(folder / "data"), "--output", str(output), "--resamples", "20"]
    printed = command("evaluate", "protocol", *words, *more)
    assert f"FG-Net, {source.upper()} to {target.upper()}" in printed
    assert list(_report(output)["aus"]) == [au_label(au) for au in SHARED_AUS]
