"""A session as the page shows it: new values of the page's components, by their names in `page`.

Called after every change of the session, which they leave as it is, except for the drawings that it stores. A scene is
drawn from one `Snapshot`: the session may change in the meantime, and is drawn again then.
"""

import collections
import html
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgnet_jax import aus as aus_lib
from fgnet_jax.app import timeline
from fgnet_jax.app import view as view_lib
from fgnet_jax.app.session import Session
from fgnet_jax.app.state import CAMERA, Run, Snapshot
from fgnet_jax.app.view import FileView
from fgnet_jax.models import lineage
from fgnet_jax.models.weights import WeightsMeta

if TYPE_CHECKING:
    from fgnet_jax.predict.network import Network

MAX_ROWS = 200
"""Rows that the page shows; the CSV has all."""

EXAMPLE = Path(__file__).with_name("example.jpg")
"""Two rendered faces of `fgnet_jax.data.synthetic`, shown before a file is dropped."""

PROGRESS = ("progress", "stop")
"""Components that `progress` draws."""

_LEFT_OUT = "not analysed"
_NAMES = 8  # of files in a sentence; of more, their number
_OF_FILE = ("frame", "player", "table", "downloads", "csv", "video")  # drawn once for a file
_OF_CHOICES = ("status", "rest", "files_shown", "image", "caption", "face", "close", "bars", "timeline")
SCENE = (*_OF_CHOICES, *_OF_FILE)
"""Components that `scene` draws."""

Gradio = Any
"""The module `gradio`, imported only when a page is built, or one of its components, made dynamically: untyped."""

Updates = dict[str, Any]
"""New values of components, by name."""

_HINT = '<div class="fg-hint">Drop an image or a video, or several, to see the faces and their action units.</div>'


def head(network: "Network", name: str = "") -> str:
    """Return the top of the page in HTML: what it is, the network and its AUs, and a banner over untrusted weights.

    Args:
      network: The network.
      name: The weights directory, as it was given; "" for none.
    """
    meta, config = network.meta, network.config
    corpus = f" for {html.escape(meta.corpus)}" if meta.corpus else ""
    weights = f"weights <b>{html.escape(name)}</b>" if name else "weights"
    aus = "".join(f"<span>{view_lib.swatch(au)} {view_lib.au_name(au)}</span>" for au in meta.aus)
    labels = ", ".join(aus_lib.label(au) for au in meta.aus)
    return (
        '<div class="fg-head"><h1>Facial action units</h1>'
        "<p>Everything is computed on this machine; nothing leaves it.</p>"
        f"<details><summary>FG-Net, {weights}{corpus}, faces of {config.image_size} pixels, {config.dtype}: "
        f'{len(meta.aus)} action units ({labels})</summary><div class="fg-aus">{aus}</div></details></div>'
    ) + _banner(meta)


def _banner(meta: WeightsMeta) -> str:
    """Return a banner over weights that know rendered faces only; empty for others."""
    notice = lineage.notice(meta)
    return problem(f"{notice[0].upper()}{notice[1:]}.") if notice else ""


def problem(text: str) -> str:
    """Return a text as an alert in HTML."""
    return f'<div class="fg-status fg-problem" role="alert">{html.escape(text)}</div>'


def progress(gr: Gradio, session: Session) -> Updates:
    """Return how far the run is."""
    run = session.run
    return {
        "progress": "" if run is None else _progress(run),
        "stop": gr.update(visible=run is not None),
    }


def _progress(run: Run) -> str:
    """Return how far a run is, with a bar."""
    count = run.count
    done, total = count.done, count.total
    name = f"<b>{html.escape(run.names[run.at])}</b>"
    which = f" (file {run.at + 1} of {len(run.paths)})" if len(run.paths) > 1 else ""
    share = min(done / total, 1.0) if total else 0.0
    frames = f"frame {done}" + (f" of {total}" if total else "") if done else "is being read"
    bar = f'<div class="fg-progress"><i style="width:{100 * share:.1f}%"></i></div>'
    return f'<div class="fg-status">{name}{which}: {frames}{_time_left(run, share)}{bar}</div>'


def _time_left(run: Run, share: float) -> str:
    """Return how long a file will still take; empty where that is not known yet."""
    elapsed = time.monotonic() - run.begun
    if share <= 0 or elapsed < 2:
        return ""
    left = elapsed * (1 - share) / share
    return f", {left / 60:.0f} min left" if left > 90 else f", {left:.0f} s left"


def status(shown: Snapshot) -> str:
    """Return what came of the files, of the one that is shown in more words."""
    reasons = dict.fromkeys(result for path in shown.paths if isinstance(result := shown.results.get(path), str))
    parts = [problem(reason) for reason in list(reasons)[:3]]
    if shown.view is not None:
        parts.append(_outcome(shown.view, is_example=shown.shown == str(EXAMPLE)))
    if not shown.is_live:
        parts.append(_summary(shown))
    return "".join(parts)


def _outcome(view: FileView, *, is_example: bool) -> str:
    """Return how many faces a file has, and why others have no result."""
    problems = "; ".join(view.problems[:3])
    stopped = f", stopped at frame {view.numbers[-1]}" if view.is_partial else ""
    if stopped and view.frame_count is not None:
        stopped += f" of {view.frame_count}"
    if not view.has_faces:
        return problem(f"{view.name}: {problems or 'no face found'}{stopped}")
    words = view_lib.counts(view) + stopped
    if problems:
        words += f"{'; in the others' if view.is_video else ''}: {problems}"
    example = " An example: drop files of your own above." if is_example else ""
    return f'<div class="fg-status"><b>{html.escape(view.name)}</b><br>{html.escape(words)}.{example}</div>'


def _summary(shown: Snapshot) -> str:
    """Return which files have not all of their results, by what is missing; empty where all have.

    Of a single file, `_outcome` has the words, unless it was not analysed.
    """
    labels, groups = _labels(shown), _by_fault(shown)
    complete, is_single = len(groups.pop("", ())), len(shown.paths) == 1
    if not groups or (is_single and not shown.left_out):
        return ""
    lines = [] if is_single else [f"{complete} of {len(shown.paths)} files have all results."]
    for fault, paths in groups.items():
        count = "" if is_single else f" ({len(paths)})"
        lines.append(f"{fault[0].upper()}{fault[1:]}{count}: {_listed([labels[path] for path in paths])}.")
    text = "<br>".join(html.escape(line) for line in lines)
    alert = ' fg-problem" role="alert' if groups.keys() - {view_lib.STOPPED, _LEFT_OUT} else ""
    return f'<div class="fg-status{alert}">{text}</div>'


def _by_fault(shown: Snapshot) -> dict[str, list[str]]:
    """Return the files that are done or left out, by what is missing; "" for those that have all results."""
    groups: dict[str, list[str]] = {}
    for path in shown.paths:
        result = shown.results.get(path)
        if result is not None or path in shown.left_out:
            groups.setdefault(_fault(result), []).append(path)
    return groups


def _fault(result: FileView | str | None) -> str:
    """Return what is missing in a file's results, in a few words; empty for nothing."""
    if isinstance(result, FileView):
        return result.fault
    return _LEFT_OUT if result is None else "could not be analysed"


def _listed(names: Sequence[str]) -> str:
    """Return names with commas; of many, the first ones and how many more there are."""
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def _labels(shown: Snapshot) -> dict[str, str]:
    """Return the files' names by path; equal ones are numbered."""
    count, number = collections.Counter(shown.names.values()), collections.Counter[str]()
    labels: dict[str, str] = {}
    for path, name in shown.names.items():
        number[name] += 1
        labels[path] = f"{name} ({number[name]})" if count[name] > 1 else name
    return labels


def scene(gr: Gradio, session: Session) -> Updates:
    """Return the file that is shown: a frame with its faces, bars, time line, table and downloads, all at once.

    The control of its frames, and a player that has it already, stay as they are.
    """
    shown = session.snapshot()
    key = "" if shown.view is None else shown.view.key
    updates = _choices(gr, session, shown)
    updates |= dict.fromkeys(_OF_FILE, gr.skip()) if key == session.drawn else _file(gr, shown)
    session.drawn = key
    return updates


def _choices(gr: Gradio, session: Session, shown: Snapshot) -> Updates:
    """Return the words on the files, and the frame that is shown, with its faces, bars and time line."""
    view, face_id, au = shown.view, shown.face_id, shown.au
    updates: Updates = {
        "status": status(shown),
        "rest": gr.update(visible=bool(shown.left_out) and not shown.is_live),
        "files_shown": _file_choice(gr, shown),
    }
    if view is None:
        caption = _HINT if not shown.paths else ""
        drawings = {name: session.save_drawing(name, None) for name in ("image", "close")}
        updates |= {"caption": caption, "face": gr.update(visible=False)}
        return updates | drawings | dict.fromkeys(("bars", "timeline"))
    return updates | {
        "image": session.save_drawing("image", view_lib.draw(view, au)),
        "caption": f'<div class="fg-caption">{view_lib.caption(view, face_id, au)}</div>',
        "face": _face_choice(gr, view, face_id),
        "close": session.save_drawing("close", view_lib.close_up(view, face_id, au)),
        "bars": view_lib.bars(view, face_id, au),
        "timeline": timeline.draw(view, face_id, au),
    }


def _file_choice(gr: Gradio, shown: Snapshot) -> Gradio:
    """Return the list of files that have a result, where there are several; with what is missing in it."""
    labels = _labels(shown)
    choices = []
    for path in shown.paths:
        if isinstance(result := shown.results.get(path), FileView):
            choices.append((f"{labels[path]}: {result.fault}" if result.fault else labels[path], path))
    return gr.update(
        choices=choices,
        value=shown.shown if shown.shown in shown.paths else None,
        visible=len(shown.paths) > 1 and not shown.is_live,
    )


def _face_choice(gr: Gradio, view: FileView, face_id: int | None) -> Gradio:
    """Return the buttons that choose a face, where there are several."""
    rows = view.shown.rows
    choices = [(f"face {row.face_id}", row.face_id) for row in rows]
    value = rows[view.shown.index(face_id)].face_id if rows else None
    return gr.update(visible=len(rows) > 1, choices=choices, value=value)


def _file(gr: Gradio, shown: Snapshot) -> Updates:
    """Return the control of frames, table, player and downloads of the file that is shown."""
    view = shown.view
    control = {"frame": None if view is None else timeline.control(view)}
    if view is None or not view.has_faces:
        hidden = gr.update(visible=False)
        return control | {"player": gr.update(visible=False, value=None)} | dict.fromkeys(_OF_FILE[2:], hidden)
    headers, cells = view_lib.table(view, MAX_ROWS)
    more = f", its first {MAX_ROWS} of {len(view.rows)} rows" if len(view.rows) > MAX_ROWS else ""
    video = str(view.video) if view.video else None
    return control | {
        "player": gr.update(visible=video is not None, value=video),
        "table": gr.update(visible=shown.shown != CAMERA, headers=headers, value=cells, label=f"Table{more}"),
        "downloads": gr.update(visible=True),
        "csv": gr.update(visible=True, value=str(view.csv)),
        "video": gr.update(visible=video is not None, value=video),
    }
