"""What a reviewer would object to, found before the report leaves the house: warnings, and notes on rare AUs.

Subjects who were trained on, and thresholds that were fitted on tested subjects, are refused before (`leakage`,
`tested`); everything here is evaluated, and flagged in the report itself.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fgnet_jax.aus import SYNTHETIC
from fgnet_jax.aus import label as au_label
from fgnet_jax.data.folds import base_name
from fgnet_jax.evaluate import leakage, runs
from fgnet_jax.evaluate.report import ReportRow
from fgnet_jax.evaluate.tested import TestedRun
from fgnet_jax.metrics.classification import always_present_f1
from fgnet_jax.models import lineage
from fgnet_jax.models.lineage import Link
from fgnet_jax.train import ancestry

MIN_POSITIVES = 20
"""Fewest frames with an AU present, below which its metrics are flagged."""

MANY_SETS = 6
"""Most sets of tested frames that are named one by one; of more, such as a fold for each subject, they are counted."""

ON_TEST_FOLD = "on the test fold"
"""Part of the rule of selection (`EvaluatedRun.selection`) of weights that were selected on the test fold."""


def warnings(rows: Sequence[ReportRow], headline: int, tested: Sequence[TestedRun]) -> tuple[str, ...]:
    """Return what makes figures of a report too good or too uncertain to be quoted, a sentence each.

    Args:
      rows: The report's rows.
      headline: Index of the row that the report is about.
      tested: The predictions that it is of.
    """
    found = [*of_tested(tested), *_rare_positives(rows), *_no_better_than_always(rows[headline])]
    return tuple(dict.fromkeys(found))


def of_tested(tested: Sequence[TestedRun]) -> tuple[str, ...]:
    """Return what can be objected to networks, their thresholds and their corpora, whatever their figures are."""
    found = [*_rendered_only(tested), *_selections(tested), *_thresholds(tested), *_preparations(tested)]
    return tuple(dict.fromkeys(found))


def _rendered_only(tested: Sequence[TestedRun]) -> Iterator[str]:
    """Flag weights that have learnt from rendered faces alone, and are tested on others."""
    for item in tested:
        if lineage.learnt_from_synthetic_only(item.run.meta) and not item.corpus.startswith(SYNTHETIC):
            yield f"{item.run.name} has learnt from {lineage.RENDERED_ONLY}: its scores of real faces mean nothing."


def _selections(tested: Sequence[TestedRun]) -> Iterator[str]:
    """Flag weights that were selected on the fold that they are tested on, or do not say how they were selected."""
    for item in tested:
        run = item.run
        for link in lineage.links(run.meta)[:-1]:
            began = f"{run.name} {'has learnt from' if lineage.is_student(run.meta) else 'began with'}"
            if link.kind == lineage.UNKNOWN:
                yield f"{began} {link.name or 'weights'}: whom these have learnt from is not recorded."
            if not leakage.same_corpus(link.corpus or "", item.corpus):
                continue
            if ON_TEST_FOLD in link.selection:
                yield f"{began} {link.name}, whose epoch was selected on its test fold, so F1 there is too high."
            elif link.kind == lineage.CONVERTED:
                origin = f"{began} published weights of {link.corpus}"
                yield f"{origin}, whose epochs were selected on the test fold, so F1 there is too high."
        if not leakage.same_corpus(run.meta.corpus or "", item.corpus):
            continue
        if ON_TEST_FOLD in run.selection:
            yield f"{run.name}: its epoch was selected on the test fold, so its F1 there is too high."
        elif "selection" not in run.meta.extra:
            yield f"{run.name} does not say how its epoch was selected: the published ones were, on the test fold."


def _thresholds(tested: Sequence[TestedRun]) -> Iterator[str]:
    for item in tested:
        if item.thresholds_text.endswith(runs.FITTED_ON_UNKNOWN):
            yield f"The thresholds are {item.thresholds_text}: if these are test subjects, F1 is too high."


def _preparations(tested: Sequence[TestedRun]) -> Iterator[str]:
    for item in tested:
        for text in runs.other_preparations(item.run, item.identities):
            yield f"{text}: labels and faces may differ."


def _rare_positives(rows: Sequence[ReportRow]) -> Iterator[str]:
    """Flag AUs of which F1 rests on a handful of frames; one line per set of frames that was tested."""
    sets = list(tested_sets(rows))
    if len(sets) > MANY_SETS:
        rare_in = _counted(sets, lambda count: count < MIN_POSITIVES)
        if rare_in:
            yield f"Fewer than {MIN_POSITIVES} frames have the AU present: {rare_in}."
        return
    for where, row in sets:
        counted = zip(row.metrics.aus, row.metrics.positives.tolist(), strict=True)
        rare = [f"{au_label(au)} ({count})" for au, count in counted if count < MIN_POSITIVES]
        if rare:
            yield f"{where}: fewer than {MIN_POSITIVES} frames have the AU present: {', '.join(rare)}."


def _no_better_than_always(row: ReportRow) -> Iterator[str]:
    """Flag AUs of the headline whose interval of F1 includes, or is below, that of always predicting "present"."""
    metrics = row.metrics
    line = always_present_f1(metrics.values["base_rate"])
    low, _ = metrics.interval("f1")
    ends = [*zip(map(au_label, metrics.aus), low, line, strict=True)]
    ends.append(("mean", metrics.mean_interval("f1")[0], np.nanmean(line)))
    below = [
        f"{name} ({100 * value:.1f})" for name, end, value in ends if end <= value
    ]  # not where there is no interval
    if below:
        yield f'{row.name}: the interval of F1 is not above the F1 of always predicting "present": {", ".join(below)}.'


def lineages(tested: Sequence[TestedRun]) -> tuple[str, ...]:
    """Return the steps of each network that began with other weights, or has teachers, a sentence each."""
    chains = {item.run.name: lineage.links(item.run.meta) for item in tested}
    return tuple(
        f"{name} has learnt in {len(links)} steps: {', then '.join(map(ancestry.describe, links))}.{_unnamed(links)}"
        for name, links in chains.items()
        if len(links) > 1
    )


def _unnamed(links: Sequence[Link]) -> str:
    """Return that a student has learnt from faces whose subjects are not known, as a sentence; else ""."""
    count = sum(link.faces.get("files", 0) for link in links)
    return f" Whom {count:,} unlabelled faces of files show, it does not record." if count else ""


def rare_aus(rows: Sequence[ReportRow]) -> tuple[str, ...]:
    """Return where the rule for AUs that are never present, or not coded, strikes; a sentence for each fold."""
    lines = []
    sets = list(tested_sets(rows))
    if len(sets) > MANY_SETS:
        never_in = _counted(sets, lambda count: not count)
        text = f"Never present: {never_in}. F1, precision and recall are 0 there, and count in every mean over folds."
        return (text,) if never_in else ()
    for where, row in sets:
        never = [au for au, n in zip(row.metrics.aus, row.metrics.positives.tolist(), strict=True) if not n]
        if never:
            lines.append(
                f"{where}: {_names(never)} never present: F1, precision and recall are 0 there, as published, and "
                "count in every mean; ROC AUC and average precision have no value there and are left out of theirs."
            )
        uncoded = [au for au in _predicted_aus(row) if au not in row.metrics.aus]
        if uncoded:
            lines.append(f"{where}: {_names(uncoded)} coded in no frame: no value there, left out of every mean.")
    return tuple(lines)


def _counted(sets: Sequence[tuple[str, ReportRow]], is_rare: Callable[[int], bool]) -> str:
    """Say of each AU in how many of many sets of frames the number of those with it present is rare; "" if in none."""
    pairs = [pair for _, row in sets for pair in zip(row.metrics.aus, row.metrics.positives.tolist(), strict=True)]
    found = Counter(au for au, count in pairs if is_rare(count))
    return ", ".join(f"{au_label(au)} in {found[au]} of {len(sets)} folds" for au in sorted(found))


def _names(aus: Sequence[int]) -> str:
    return f"{', '.join(map(au_label, aus))} {'is' if len(aus) == 1 else 'are'}"


def _predicted_aus(row: ReportRow) -> list[int]:
    return sorted(int(au) for run in row.details["runs"] for au in run["thresholds"])


def tested_sets(rows: Sequence[ReportRow]) -> Iterator[tuple[str, ReportRow]]:
    """Yield each set of frames that was tested by one run, with its name and the first row that is of it."""
    found: set[tuple[object, ...]] = set()
    for row in rows:
        if len(row.details["runs"]) != 1:
            continue  # a mean
        run = row.details["runs"][0]
        key = (run["tested_on"], *run["splits"], *row.metrics.aus)
        if key not in found:
            found.add(key)
            yield f"{base_name(run['tested_on'])} {'+'.join(run['splits'])}", row
