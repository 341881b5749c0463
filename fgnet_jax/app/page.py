"""The page, built of Gradio's components: their layout, and what happens when a file is dropped or a slider moved.

What the components show is computed by `fgnet_jax.app.view`; here it is only put in its place.
"""

import functools
import html
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgnet_jax.app import view as view_lib
from fgnet_jax.app.view import FileView
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.models import lineage
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.predict.pipeline import PredictOptions

if TYPE_CHECKING:
    import gradio

    from fgnet_jax.predict.detector import Detector

MAX_ROWS = 200
"""Rows that the page shows; the CSV has all."""

ALL = 0
"""The slider's value for all AUs that are present; the first AU is at 1."""

Gradio = Any
"""The module `gradio`, imported only when a page is built, or one of its components, made dynamically: untyped."""

Updates = dict[str, Any]
"""New values of the page's components, by their names in `_lay_out`."""

_DRAWN = ["image", "close", "caption", "bars"]

_HEAD = """
<div class="fg-head"><h1>Facial action units</h1>
<p>Drop an image or a video of faces. Everything is computed on this machine; nothing leaves it.</p></div>
"""

CSS = """
.gradio-container { width: 100% !important; max-width: 1480px !important; margin: 0 auto; }
.gradio-container .column, .gradio-container .row { min-width: 0; }
.fg-head h1 { font-size: 1.7rem; font-weight: 600; margin: .2rem 0; }
.fg-head p { opacity: .75; margin: 0; }
.fg-status { padding: .6rem .8rem; border-radius: 8px; background: var(--background-fill-secondary);
  border: 1px solid var(--border-color-primary); overflow-wrap: anywhere; }
.fg-problem { background: #fdecec; color: #8c1d18; border-left: 4px solid #d4342c; }
.fg-caption { font-size: 1.05rem; min-height: 1.6rem; }
.au-swatch { display: inline-block; width: .9em; height: .9em; border-radius: 3px; vertical-align: -.08em; }
.au-bars { display: grid; gap: .35rem; }
.au-bar { display: grid; grid-template-columns: 1fr auto; column-gap: .6rem; color: var(--body-text-color-subdued); }
.au-bar i { font-style: normal; font-weight: 400; }
.au-on { color: var(--body-text-color); }
.au-on .au-name { font-weight: 600; }
.au-score { font-variant-numeric: tabular-nums; }
.au-track { grid-column: 1 / 3; position: relative; height: 7px; border-radius: 3px; overflow: hidden;
  background: var(--border-color-primary); }
.au-track::after { content: ""; position: absolute; left: calc(50% - 1px); width: 2px; height: 100%;
  background: var(--body-text-color-subdued); }
.au-track span { position: absolute; top: 0; height: 100%; }
@media (max-width: 760px) {
  #overlay, #close { height: auto !important; }
  #overlay:not(:has(img)), #close:not(:has(img)) { display: none; }
}
"""


def build(detector: "Detector", thresholds: str | None = None) -> "gradio.Blocks":
    """Build the page.

    Args:
      detector: The network with its weights.
      thresholds: A file of thresholds, or None for 0.
    """
    gr = import_gradio()
    with gr.Blocks(
        title="Facial action units", analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True
    ) as page:
        gr.HTML(head(detector.meta))
        parts = _lay_out(gr, len(detector.aus))
        _connect(gr, parts, detector, thresholds)
    return page


def head(meta: WeightsMeta) -> str:
    """Return the top of the page in HTML, with a banner over weights that know rendered faces only."""
    notice = lineage.notice(meta)
    return _HEAD + (_problem(f"{notice[0].upper()}{notice[1:]}.") if notice else "")


def import_gradio() -> Gradio:
    """Import Gradio, configured before to send no statistics and to load nothing from elsewhere."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    import gradio

    return gradio


def _lay_out(gr: Gradio, au_count: int) -> dict[str, Gradio]:
    """Create the page's components in their places, and return them by name."""
    parts: dict[str, Gradio] = {"view": gr.State(None)}
    with gr.Row():
        with gr.Column(scale=2, min_width=250):
            parts["file"] = gr.File(label="Image or video", height=170, elem_id="file")
            parts["status"] = gr.HTML(elem_id="status", padding=False)
            parts["largest"] = gr.Checkbox(False, label="Only the largest face")
            parts["every"] = gr.Number(1, label="Video: only every N-th frame", precision=0, minimum=1)
        with gr.Column(scale=5, min_width=420):
            parts["image"] = _image(gr, "Faces", "overlay", 560)
            parts["caption"] = gr.HTML(elem_id="caption", elem_classes="fg-caption", padding=False)
            label = "Action unit (0: all that are present)"
            parts["au"] = gr.Slider(ALL, au_count, ALL, step=1, label=label, elem_id="au", visible=False)
            parts["frame"] = gr.Slider(1, 2, 1, step=1, label="Frame", elem_id="frame", visible=False)
        with gr.Column(scale=3, min_width=300):
            parts["face"] = gr.Radio([], label="Face", elem_id="face", visible=False)
            parts["close"] = _image(gr, "Close up", "close", 320)
            parts["bars"] = gr.HTML(elem_id="bars", padding=False)
    parts["table"] = gr.Dataframe(label="Table", interactive=False, elem_id="table", visible=False)
    with gr.Row():
        parts["csv"] = gr.DownloadButton(
            "Download the whole table (CSV)", elem_id="csv", visible=False, variant="primary", scale=0, min_width=380
        )
    return parts


def _image(gr: Gradio, label: str, name: str, height: int) -> Gradio:
    buttons = ["download", "fullscreen"]
    return gr.Image(label=label, interactive=False, format="png", elem_id=name, height=height, buttons=buttons)


def _connect(gr: Gradio, parts: dict[str, Gradio], detector: "Detector", thresholds: str | None) -> None:
    """Register what happens when a file is dropped, a slider moved or a face chosen."""

    def predict(
        path: str,
        largest: bool,
        every: float | None,
        progress: Gradio = gr.Progress(),  # noqa: B008 - Gradio recognises it by its default
    ) -> Updates:
        options = PredictOptions(largest=largest, every=max(1, int(every or 1)), thresholds=thresholds)

        def report(number: int, total: int | None) -> None:
            progress((number, total), desc=f"frame {number}")

        try:
            return _file(gr, view_lib.predict_file(detector, path, options, report))
        except DetectorError as error:
            return _empty(gr) | {"status": _problem(str(error))}

    def show_frame(view: FileView, number: float, au: int) -> Updates:
        view = view_lib.show_frame(detector, view, int(number))
        return {"view": view} | _face_choice(gr, view) | _drawings(view, au, 0)

    names = {
        "predict": ["view", "status", *_DRAWN, "au", "frame", "face", "table", "csv"],
        "show_frame": ["view", *_DRAWN, "face"],
        "draw": _DRAWN,
    }
    outputs = {key: [parts[name] for name in value] for key, value in names.items()}

    def ordered(key: str, function: Callable[..., Updates]) -> Callable[..., tuple[object, ...]]:
        """Let a function return its updates as Gradio takes them: a tuple, in the order of the outputs."""

        @functools.wraps(function)
        def call(*arguments: object) -> tuple[object, ...]:
            updates = function(*arguments)
            return tuple(updates[name] for name in names[key])

        return call

    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    last: dict[str, Any] = {"trigger_mode": "always_last", "api_visibility": "private"}
    inputs = [parts[name] for name in ("file", "largest", "every")]
    shown = [parts[name] for name in ("view", "au", "face")]
    frame_inputs = [parts[name] for name in ("view", "frame", "au")]
    parts["file"].upload(ordered("predict", predict), inputs, outputs["predict"], api_visibility="private")
    parts["file"].clear(ordered("predict", lambda: _empty(gr)), [], outputs["predict"], **hidden)
    parts["frame"].release(ordered("show_frame", show_frame), frame_inputs, outputs["show_frame"], **last)
    for name in ("au", "face"):
        parts[name].input(ordered("draw", _drawings), shown, outputs["draw"], **(hidden | last))


def _file(gr: Gradio, view: FileView) -> Updates:
    """Return the page with a file's results."""
    problems = view_lib.problems(view)
    if not any(row.success for row in view.table.rows):
        return _empty(gr) | {"status": _problem(f"{view.name}: {'; '.join(problems)}"), "image": view.image}
    separator = "; in the others: " if view.is_video else "; "
    more = f"{separator}{'; '.join(problems[:3])}" if problems else ""
    status = (
        f'<div class="fg-status"><b>{html.escape(view.name)}</b><br>{view_lib.counts(view)}{html.escape(more)}</div>'
    )
    numbers = view.numbers
    frame = gr.update(visible=view.is_video, minimum=numbers[0], maximum=max(numbers[-1], 2), value=view.frame)
    headers, cells = view_lib.rows(view, MAX_ROWS)
    label = "Table" if len(view.table) <= MAX_ROWS else f"Table, its first {MAX_ROWS} of {len(view.table)} rows"
    return {
        "view": view,
        "status": status,
        "au": gr.update(visible=True, value=ALL),
        "frame": frame,
        "table": gr.update(visible=True, headers=headers, value=cells, label=label),
        "csv": gr.update(visible=True, value=_csv(view)),
        **_face_choice(gr, view),
        **_drawings(view, ALL, 0),
    }


def _face_choice(gr: Gradio, view: FileView) -> Updates:
    """Return the buttons that choose a face, where there are several."""
    assert view.shown is not None
    faces = [(f"face {view.shown.rows[row].face_id}", k) for k, row in enumerate(view.faces)]
    return {"face": gr.update(visible=len(faces) > 1, choices=faces, value=0 if faces else None)}


def _drawings(view: FileView | None, au: float, face: int | None) -> Updates:
    """Return drawings, caption and bars, for the slider's AU and the chosen face."""
    if view is None:
        return dict.fromkeys(_DRAWN)
    chosen = None if au == ALL else int(au) - 1
    return {
        "image": view_lib.draw(view, chosen),
        "close": view_lib.close_up(view, face or 0, chosen),
        "caption": view_lib.caption(view, chosen, face or 0),
        "bars": view_lib.bars(view, face or 0),
    }


def _empty(gr: Gradio) -> Updates:
    """Return the page as it is without a file."""
    hidden = gr.update(visible=False)
    empty = dict.fromkeys(("view", "status", *_DRAWN))
    return empty | dict.fromkeys(("au", "frame", "face", "table", "csv"), hidden)


def _problem(text: str) -> str:
    return f'<div class="fg-status fg-problem" role="alert">{html.escape(text)}</div>'


def _csv(view: FileView) -> str:
    """Write the whole table to a file that Gradio may serve, and that it deletes within a day; return its path."""
    path = os.path.join(tempfile.mkdtemp(prefix="fgnet_jax_"), f"{Path(view.name).stem}.csv")
    view_lib.write_csv(view, path)
    return path
