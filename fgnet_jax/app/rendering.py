"""A session as the page shows it: new values of the page's components, by their names in `page`.

Pure functions of the session, called after every change of it.
"""

import html
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgnet_jax import aus as aus_lib
from fgnet_jax.app import timeline
from fgnet_jax.app import view as view_lib
from fgnet_jax.app.session import CAMERA, Run, Session
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

_RESULTS = ("player", "table", "downloads", "csv", "video")
SCENE = ("status", "files_shown", "image", "caption", "frame", "face", "close", "bars", "timeline", *_RESULTS)
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
      name: Name of the weights directory; "" for none.
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
        "progress": "" if run is None else _progress(run, session.names),
        "stop": gr.update(visible=run is not None),
    }


def _progress(run: Run, names: Mapping[str, str]) -> str:
    """Return how far a run is, with a bar."""
    done, total = run.count.done, run.count.total
    name = f"<b>{html.escape(names.get(run.paths[run.at], ''))}</b>"
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


def status(session: Session) -> str:
    """Return what came of the files."""
    results = (session.results.get(path) for path in session.paths)
    parts = [problem(result) for result in results if isinstance(result, str)]
    if (view := session.view) is not None:
        parts.append(_outcome(view, is_example=session.shown == str(EXAMPLE)))
    return "".join(parts)


def _outcome(view: FileView, *, is_example: bool) -> str:
    """Return how many faces a file has, and why others have no result."""
    problems = "; ".join(view.problems[:3])
    if not view.has_faces:
        return problem(f"{view.name}: {problems or 'no face found'}")
    words = view_lib.counts(view)
    if view.is_partial:
        words += f", stopped at frame {view.numbers[-1]}"
    if problems:
        words += f"{'; in the others' if view.is_video else ''}: {problems}"
    example = " An example: drop files of your own above." if is_example else ""
    return f'<div class="fg-status"><b>{html.escape(view.name)}</b><br>{html.escape(words)}.{example}</div>'


def scene(gr: Gradio, session: Session) -> Updates:
    """Return the file that is shown: a frame with its faces, bars, time line, table and downloads, all at once."""
    return _frame(gr, session) | _results(gr, session)


def _frame(gr: Gradio, session: Session) -> Updates:
    """Return the frame that is shown, with its faces, bars and time line."""
    view, face_id, au = session.view, session.face_id, session.au
    if view is None:
        caption = "" if session.run is not None else _HINT
        empty = {"status": status(session), "files_shown": _file_choice(gr, session), "caption": caption}
        empty |= {"frame": _once(gr, session, "frame", lambda: None), "face": gr.update(visible=False)}
        return empty | dict.fromkeys(("image", "close", "bars", "timeline"))
    return {
        "status": status(session),
        "files_shown": _file_choice(gr, session),
        "image": view_lib.draw(view, au),
        "caption": f'<div class="fg-caption">{view_lib.caption(view, face_id, au)}</div>',
        "frame": _once(gr, session, "frame", lambda: timeline.control(view)),
        "face": _face_choice(gr, view, face_id),
        "close": view_lib.close_up(view, face_id, au),
        "bars": view_lib.bars(view, face_id, au),
        "timeline": timeline.draw(view, face_id, au),
    }


def _file_choice(gr: Gradio, session: Session) -> Gradio:
    """Return the list of files that have a result, where there are several."""
    paths = [path for path in session.paths if isinstance(session.results.get(path), FileView)]
    names = [session.names[path] for path in paths]
    labels = [f"{name} ({k + 1})" if names.count(name) > 1 else name for k, name in enumerate(names)]
    shown = session.shown if session.shown in paths else None
    return gr.update(
        choices=list(zip(labels, paths, strict=True)),
        value=shown,
        visible=len(session.paths) > 1 and not session.is_live,
    )


def _once(gr: Gradio, session: Session, name: str, draw: Callable[[], Any]) -> Any:  # noqa: ANN401 - Gradio's updates
    """Return what `draw` returns, the first time for the file that is shown, and then nothing new."""
    view = session.view
    key = "" if view is None else view.key
    if session.drawn.get(name) == key:
        return gr.skip()
    session.drawn[name] = key
    return draw()


def _face_choice(gr: Gradio, view: FileView, face_id: int | None) -> Gradio:
    """Return the buttons that choose a face, where there are several."""
    rows = view.shown.rows
    choices = [(f"face {row.face_id}", row.face_id) for row in rows]
    value = rows[view.shown.index(face_id)].face_id if rows else None
    return gr.update(visible=len(rows) > 1, choices=choices, value=value)


def _results(gr: Gradio, session: Session) -> Updates:
    """Return table, player and downloads of the file that is shown; a player that has it already plays on."""
    drawn = _once(gr, session, "results", lambda: _new_results(gr, session))
    return drawn if "player" in drawn else dict.fromkeys(_RESULTS, drawn)


def _new_results(gr: Gradio, session: Session) -> Updates:
    view = session.view
    if view is None or not view.has_faces:
        hidden = gr.update(visible=False)
        return {"player": gr.update(visible=False, value=None)} | dict.fromkeys(_RESULTS[1:], hidden)
    headers, cells = view_lib.table(view, MAX_ROWS)
    more = f", its first {MAX_ROWS} of {len(view.rows)} rows" if len(view.rows) > MAX_ROWS else ""
    video = str(view.video) if view.video else None
    return {
        "player": gr.update(visible=video is not None, value=video),
        "table": gr.update(visible=session.shown != CAMERA, headers=headers, value=cells, label=f"Table{more}"),
        "downloads": gr.update(visible=True),
        "csv": gr.update(visible=True, value=str(view.csv)),
        "video": gr.update(visible=video is not None, value=video),
    }
