"""The end of a run: the best student beside its teachers, on held-out faces and on a corpus' test fold."""

import json
from typing import Any

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.data.pipeline import LoaderConfig, ProcessShard
from fgnet_jax.distill.agreement import Agreement
from fgnet_jax.distill.batches import StudentFaces
from fgnet_jax.distill.record import face_counts
from fgnet_jax.distill.run import DistillRun
from fgnet_jax.distill.teachers import STUDENT
from fgnet_jax.metrics import f1_table
from fgnet_jax.metrics.f1_table import F1Row
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.config import NetworkConfig
from fgnet_jax.predict.network import to_devices
from fgnet_jax.runtime import files, provenance, sharding
from fgnet_jax.runtime.command_line import status
from fgnet_jax.train import workdirs
from fgnet_jax.train.evaluator import compile_eval_steps, score
from fgnet_jax.train.metrics_writer import MetricsWriter
from fgnet_jax.train.splits import FaceSubset


def finish(run: DistillRun, faces: StudentFaces, writer: MetricsWriter) -> dict[str, Any]:
    """Compare the best student with its teachers, test all of them; print the results, and write results.json."""
    config, variables, meta = weights.load(run.workdir / "best")
    placed = sharding.place(variables, run.layout.of(variables))
    agreement = Agreement.of(run, placed, faces)
    print(f"\n{len(faces.held_out):,} held-out faces ({faces.rule}):\n\n{agreement.table()}\n", flush=True)
    results = {
        "step": meta.extra["step"],
        "selection": meta.extra["selection"],
        **{"correlation": None, **agreement.means()},
        "by_au": agreement.to_dict(),
        "faces": face_counts(run, faces) | {"held_out": len(faces.held_out), **_left_out(faces)},
        "teachers": [teacher.describe() for teacher in run.teachers],
        **_tested(run, config, placed),
        "lineage": [link.to_dict() for link in lineage.links(meta)],
        "provenance": provenance.provenance(),
    }
    text = json.dumps(results, indent=2, allow_nan=False) + "\n"
    files.write_text(run.workdir / workdirs.RESULTS, text)
    print(f"{run.workdir}: best/ (the student), results.json, metrics.jsonl, faces/ (the cache)", flush=True)
    if notice := lineage.notice(meta):
        status("distill", notice)
    return results


def _left_out(faces: StudentFaces) -> dict[str, int]:
    return {"left_out": faces.cached.counts["left_out"]}


def _tested(run: DistillRun, config: NetworkConfig, variables: fgnet.Variables) -> dict[str, Any]:
    """Score the student and its teachers on the fold that was left out, and on that of further corpora.

    Returns:
      `mean_f1`, `f1` by AU and `split` as `train` writes them, and `tested`: F1 of student and teachers by split;
      nothing without a corpus.
    """
    data = run.inputs.data
    if data is None:
        return {}
    subsets = (data.test, *data.also_test)
    rows = [(STUDENT, subset, _f1(run, config, variables, run.aus, subset)) for subset in subsets]
    for teacher in run.teachers:
        theirs = to_devices(teacher.load(), run.layout)
        rows += [
            (teacher.name, subset, _f1(run, teacher.config, theirs, teacher.aus, subset))
            for subset in subsets
            if set(teacher.aus) & set(subset.corpus.aus)
        ]
    table: list[F1Row] = [
        (f"{name}: {subset.name}", tuple(f1), tuple(f1.values())) for name, subset, f1 in _by_subset(rows, subsets)
    ]
    print(f"{f1_table.f1_table(table)}\n", flush=True)
    tested: dict[str, dict[str, Any]] = {}
    for name, subset, f1 in rows:
        tested.setdefault(subset.name, {})[name] = _as_json(f1)
    return {"split": data.test.name, **_as_json(rows[0][2]), "tested": tested}


def _by_subset(
    rows: list[tuple[str, FaceSubset, dict[int, float]]], subsets: tuple[FaceSubset, ...]
) -> list[tuple[str, FaceSubset, dict[int, float]]]:
    """Sort rows by what was tested on, so that the student stands beside its teachers."""
    return [row for subset in subsets for row in rows if row[1] is subset]


def _as_json(f1: dict[int, float]) -> dict[str, Any]:
    return {"mean_f1": float(np.mean([*f1.values()])), "f1": {au_label(au): value for au, value in f1.items()}}


def _f1(
    run: DistillRun, config: NetworkConfig, variables: fgnet.Variables, aus: tuple[int, ...], faces: FaceSubset
) -> dict[int, float]:
    """Compute F1 of the AUs that a network and a corpus share, as `train` computes it."""
    train = run.config.train
    scored = score(
        compile_eval_steps(config, len(aus), run.layout).score,
        variables,
        faces.corpus,
        faces.indices,
        loader=LoaderConfig(
            batch_size=train.eval_batch_size,
            image_size=config.image_size,
            threads=run.config.data.threads,
            columns=faces.corpus.columns(aus),
        ),
        sharding=run.layout,
        shard=ProcessShard(),
    )
    return scored.f1_by_au(aus)
