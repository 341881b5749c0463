"""Recognises corpora that have the layout of another: BP4D+ that of BP4D, and DISFA+ a name like DISFA's.

Their subjects are named alike but are other people, so that folds, and what a model has seen, go by the corpus' name.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.prepare.layouts.records import LayoutError, Partition, standard_partition

_PLUS = {
    "bp4d": re.compile(r"bp4d[\s_-]*(\+|plus)(?![\s_-]*[a-z])|mmse", re.IGNORECASE),
    "disfa": re.compile(r"disfa[\s_-]*(\+|plus)(?![\s_-]*[a-z])", re.IGNORECASE),
}
"""Names of folders of BP4D+ (also called MMSE) and DISFA+."""

_PLUS_TASKS = {"T1", "T6", "T7", "T8"}
"""Tasks of BP4D+ that are coded, as far as it is known; of BP4D all eight are."""

_OWN = "prepare it as a corpus of its own: --name {name} --partition FILE, a JSON of its folds, each a list of subjects"


def partition_of(layout: str, name: str, partition: Partition | None) -> Partition:
    """Return the folds to use: those that are given, or the published ones of the corpus that a layout is named after.

    Args:
      layout: "bp4d" or "disfa".
      name: The corpus' name.
      partition: Folds by subject, if given.

    Raises:
      LayoutError: for another corpus without folds of its own, or by the name of another layout's corpus.
    """
    if name != layout and name in CORPUS_AUS:
        raise LayoutError(f"--name {name}: that corpus has a layout of its own, this is that of {layout}")
    if partition is None and name != layout:
        raise LayoutError(
            f"--name {name} needs --partition FILE, a JSON of its folds, each a list of subjects: the published folds "
            f"are those of the subjects of {layout}"
        )
    return standard_partition(layout) if partition is None else partition


def recordings_of(layout: str, name: str, refuse: Callable[[], str]) -> str:
    """Return whose recordings a corpus is of, so that the same subjects are known under any name.

    Args:
      layout: "bp4d" or "disfa".
      name: The corpus' name.
      refuse: Raises a `LayoutError`, or returns a doubt in words, where the folder is not of the corpus that the layout
        is named after. With that corpus' own name, its error is raised.

    Returns:
      The layout's name, or `name` where the folder shows other people.
    """
    if name == layout:
        refuse()
        return layout
    try:
        return name if refuse() else layout
    except LayoutError:
        return name


def refuse_bp4d_plus(root: Path, files: Iterable[PurePath], keys: Iterable[tuple[str, str]]) -> str:
    """Refuse a corpus that is not BP4D, by its subjects, tasks and folders; return a doubt (`plus_note`), or "".

    Args:
      root: The folder of the corpus.
      files: Files of codes, relative to it.
      keys: Subjects and tasks.

    Raises:
      LayoutError: with the signs.
    """
    keys = list(keys)
    subjects = _listed({subject for subject, _ in keys} - set(standard_partition("bp4d")))
    tasks = _listed({task for _, task in keys} - set(folds_lib.SEQUENCES["bp4d"]))
    signs = [f"subjects {subjects}"] if subjects else []
    signs += [f"tasks {tasks}"] if tasks else []
    signs += [f"a folder {folder}" for folder in _plus_folders("bp4d", root, files)]
    if signs:
        raise LayoutError(
            f"{root} is not BP4D, which has subjects F001 to F023 and M001 to M018 and tasks T1 to T8: it has "
            f"{' and '.join(signs)}, as BP4D+ (MMSE). Its F001 is another person than BP4D's; "
            + _OWN.format(name="bp4d_plus")
        )
    return plus_note(task for _, task in keys)


def refuse_borrowed_name(name: str, subjects: Iterable[str], has_folds: bool) -> None:
    """Refuse a table that has the name of a published corpus, but other subjects or no folds.

    Raises:
      LayoutError: with what is missing.
    """
    if name not in CORPUS_AUS:
        return
    others = sorted(set(subjects) - set(standard_partition(name)))
    if others:
        raise LayoutError(f"--name {name}: {', '.join(others[:5])} are not subjects of {name}; choose another name")
    if not has_folds:
        raise LayoutError(f"--name {name} has published folds: give them with --partition or in a column fold")


def refuse_other_subjects(corpus: str, folder: Path, subjects: Iterable[str]) -> None:
    """Refuse aligned faces of subjects that the corpus does not have.

    Raises:
      LayoutError: with the subjects.
    """
    others = set(subjects) - set(standard_partition(corpus))
    if others:
        raise LayoutError(
            f"{folder} is not {corpus}, which has no {', '.join(sorted(others)[:5])}: its tables are of another "
            f"corpus, such as BP4D+ or DISFA+, of other people; write a table for `prepare csv --name …`"
        )


def fold_note(corpus: str, folds: Mapping[str, int]) -> str:
    """Return a note about subjects that are in other folds than the published ones; empty if none are."""
    published = standard_partition(corpus)
    others = [subject for subject, fold in folds.items() if published.get(subject) != fold]
    if not others:
        return ""
    return (
        f"{len(others)} subjects are in other folds than the published ones, such as {others[0]} in "
        f"{folds[others[0]]}, published in {published.get(others[0])}: published weights may have been trained on them"
    )


def plus_note(tasks: Iterable[str]) -> str:
    """Return a note where only those tasks have codes that BP4D+ has codes of; else an empty text."""
    if set(tasks) != _PLUS_TASKS:
        return ""
    return (
        "only T1, T6, T7 and T8 have codes, as in BP4D+, where BP4D has codes of eight tasks: if this is BP4D+, "
        + _OWN.format(name="bp4d_plus")
    )


def refuse_disfa_plus(root: Path, files: Iterable[PurePath], subjects: Iterable[str]) -> str:
    """Refuse a corpus that is not DISFA, by its folders, or where most subjects are not DISFA's; return "".

    Args:
      root: The folder of the corpus.
      files: All files, relative to it.
      subjects: Subjects with labels.

    Raises:
      LayoutError: with the signs.
    """
    files, subjects = list(files), set(subjects)
    trials = [path for path in files if re.search(r"trai?l_?no", str(path), re.IGNORECASE)]
    folders = _plus_folders("disfa", root, files)
    if trials or folders:
        sign = f"a folder {folders[0]}" if folders else f"trials, {trials[0]}"
        raise LayoutError(
            f"{root} is not DISFA but DISFA+, posed and spontaneous trials in another layout: it has {sign}; write "
            f"a table of it for `prepare csv --name disfa_plus`, or name the folder of DISFA alone"
        )
    unknown = subjects - set(standard_partition("disfa"))
    if 2 * len(unknown) > len(subjects):
        raise LayoutError(
            f"{root} is not DISFA: {len(unknown)} of its {len(subjects)} subjects are not DISFA's, such as "
            f"{_listed(unknown)}; {_OWN.format(name='my_corpus')}"
        )
    return ""


def _plus_folders(corpus: str, root: Path, files: Iterable[PurePath]) -> list[str]:
    """Return the names of folders that say what the corpus is."""
    names = {part for path in files for part in path.parts[:-1]} | {root.name, root.resolve().name}
    return sorted(name for name in names if _PLUS[corpus].search(name))


def _listed(names: set[str]) -> str:
    """List up to five names in order."""
    shown = sorted(names, key=lambda name: (name[0], int(name.lstrip("FMSNT"))))
    return ", ".join(shown[:5]) + (" …" if len(shown) > 5 else "")
