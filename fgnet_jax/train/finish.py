"""The end of a run: the selected weights are tested, and its results written."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.metrics import f1_table
from fgnet_jax.metrics.bootstrap import MeasuredMetrics
from fgnet_jax.models import lineage, weights
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import provenance as provenance_lib
from fgnet_jax.runtime import sharding
from fgnet_jax.train import epoch_end, intensity, results, workdirs
from fgnet_jax.train.metrics_writer import MetricsWriter, read_metrics
from fgnet_jax.train.run import TrainingRun
from fgnet_jax.visualization import training_curves


def finish(run: TrainingRun, writer: MetricsWriter) -> dict[str, Any]:
    """Test the best epoch on the test fold and on further corpora; write and print the results."""
    _, variables, meta = weights.load(run.workdir / "best")
    if lineage.KEY not in meta.extra:  # written by a version that recorded none
        meta = epoch_end.best_meta(run, meta.extra["step"], meta.extra["selection_mean_f1"], {})
        weights.save(run.workdir / "best", run.step.model, variables, meta)
    variables = sharding.place(variables, run.sharding.of(variables))
    rows: list[f1_table.F1Row] = []
    agreements: dict[str, MeasuredMetrics] = {}
    for faces in (run.data.test, *run.data.also_test):
        scored = epoch_end.evaluate(run, variables, faces)
        f1 = scored.f1_by_au(run.data.aus)
        rows.append((faces.name, tuple(f1), tuple(f1.values())))
        if (measured := intensity.measure(meta, faces, scored)) is not None:
            agreements[faces.name] = measured
    sheet = epoch_end.draw_heatmaps(run, variables, run.workdir / "heatmaps.png" if run.is_first else None)
    writer.image(run.schedule.total, "test_heatmaps", sheet)
    report = write_report(run, meta, rows, agreements) if run.is_first else {}
    run.say(f"\nF1 of step {meta.extra['step']}, {run.data.selection}:\n\n{f1_table.f1_table(rows)}\n")
    if agreements:
        run.say(f"{intensity.table([*agreements.items()])}\n")
    run.say(f"{run.workdir}: best/ (weights), results.json, curves.png, heatmaps.png, metrics.jsonl")
    return report


def write_report(
    run: TrainingRun, meta: WeightsMeta, rows: Sequence[f1_table.F1Row], agreements: Mapping[str, MeasuredMetrics]
) -> dict[str, Any]:
    """Write results.json and the training curves; return the contents of results.json.

    Args:
      run: The run.
      meta: Metadata of the best epoch's weights.
      rows: F1 on the test fold, then on the same fold of further corpora.
      agreements: How intensities agree with coded ones, by the names of those rows where both are known.
    """
    (name, aus, f1), *others = rows
    step = meta.extra["step"]
    also_test = {
        other: {"mean_f1": float(np.mean(values)), "f1": dict(zip(map(au_label, numbers), values, strict=True))}
        | intensity.results(agreements.get(other))
        for other, numbers, values in others
    }
    metrics = read_metrics(run.workdir / "metrics.jsonl")
    training_curves.training_curves(metrics, run.workdir / "curves.png", best_step=step)
    return results.write_results(
        run.workdir / workdirs.RESULTS,
        aus=aus,
        f1=f1,
        split=name,
        selection=run.data.selection,
        step=step,
        also_test=also_test,
        **intensity.results(agreements.get(name)),
        corpora=[identity.to_dict() for identity in run.data.identities],
        lineage=[link.to_dict() for link in lineage.links(meta)],
        provenance=provenance_lib.provenance(),
    )
