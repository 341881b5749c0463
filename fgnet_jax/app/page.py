"""The page, built of Gradio's components: their layout, and what happens when a file is dropped or a slider moved.

Every event changes the tab's `Session` and returns the numbers of its last change; a new number lets the page be drawn
from the session (`rendering`), one drawing at a time. So the last change is shown, in whatever order events end.
"""

import contextlib
import functools
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgnet_jax.app import analysis, rendering, scripts
from fgnet_jax.app import view as view_lib
from fgnet_jax.app.rendering import EXAMPLE, PROGRESS, SCENE, Gradio, Updates
from fgnet_jax.app.session import Session
from fgnet_jax.app.state import Upload
from fgnet_jax.app.uploads import Uploads
from fgnet_jax.predict.pipeline import PredictOptions

if TYPE_CHECKING:
    import gradio
    import numpy as np

    from fgnet_jax.predict.detector import Detector

CSS = Path(__file__).with_name("page.css").read_text()
"""The page's style."""

_EXAMPLE = Upload(str(EXAMPLE), EXAMPLE.name)

_HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_LAST: dict[str, Any] = _HIDDEN | {"trigger_mode": "always_last"}
_EVERY: dict[str, Any] = _HIDDEN | {"trigger_mode": "multiple"}
"""How events are sent: without Gradio's own signs of progress; one at a time, and at the end the last; or each."""

Handler = Callable[..., Any]
"""What an event calls."""


def build(detector: "Detector", thresholds: str | None = None, *, name: str = "") -> "gradio.Blocks":
    """Build the page.

    What is dropped and computed lies in Gradio's folder for files until the page shows it no more or its tab is closed.

    Args:
      detector: The network with its weights.
      thresholds: A file of thresholds, or None for 0.
      name: Folder of the weights, to be shown.
    """
    gr = import_gradio()
    with gr.Blocks(title="Facial action units", analytics_enabled=False, fill_width=True) as page:
        sessions = _Sessions(detector, Path(page.GRADIO_CACHE))
        gr.HTML(rendering.head(detector, name), padding=False)
        parts = _lay_out(gr)
        _Wiring(gr, parts, sessions, thresholds).connect(page, detector.config.image_size)
    page.queue(default_concurrency_limit=None)  # a user does not wait for another one's video
    return page


def import_gradio() -> Gradio:
    """Import Gradio, configured before to send no statistics and to load nothing from elsewhere."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    import gradio

    return gradio


class _Sessions:
    """The sessions of all open tabs."""

    def __init__(self, detector: "Detector", folder: Path):
        """Begin without any.

        Args:
          detector: The network.
          folder: Gradio's folder for files: those in it are served as they are, others would be copied into it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._detector, self._uploads = detector, Uploads(folder)
        self._folder = Path(tempfile.mkdtemp(prefix="results_", dir=folder))
        self._by_hash: dict[str, Session] = {}
        self._lock = threading.Lock()

    def of(self, request: "gradio.Request") -> Session:
        """Return the session of a request's tab."""
        with self._lock:
            key = str(request.session_hash)
            if key not in self._by_hash:
                folder = self._folder / secrets.token_hex(8)  # a name that nobody in another tab can guess
                self._by_hash[key] = Session(self._detector, folder, self._uploads)
            return self._by_hash[key]

    def close(self, session: Session) -> None:
        """End the session of a tab that was closed."""
        with self._lock:
            self._by_hash = {key: other for key, other in self._by_hash.items() if other is not session}
        session.close()


def _lay_out(gr: Gradio) -> dict[str, Gradio]:
    """Create the page's components in their places, and return them by name."""
    parts: dict[str, Gradio] = {}
    for name in ("progress_stamp", "scene_stamp"):
        parts[name] = gr.Number(0, visible="hidden", elem_id=name)
    parts["clock"], parts["frame_key"] = gr.Number(0, visible=False), gr.Textbox("", visible=False)
    with gr.Row():
        with gr.Column(scale=3, min_width=260):
            parts |= _inputs(gr)
        with gr.Column(scale=6, min_width=380):
            parts["image"] = _image(gr, "Faces", "overlay")
            parts["caption"] = gr.HTML(elem_id="caption", padding=False)
            parts["frame"] = gr.HTML(elem_id="frame", padding=False, apply_default_css=False, js_on_load=scripts.FRAME)
        with gr.Column(scale=4, min_width=290):
            parts["face"] = gr.Radio([], label="Face", elem_id="face", visible=False)
            parts["close"] = _image(gr, "Close up", "close")
            parts["bars"] = gr.HTML(elem_id="bars", padding=False, apply_default_css=False, js_on_load=scripts.CLICKS)
    parts["timeline"] = gr.HTML(elem_id="timeline", padding=False, apply_default_css=False, js_on_load=scripts.CLICKS)
    return parts | _results(gr)


def _inputs(gr: Gradio) -> dict[str, Gradio]:
    """Create what files come in by, the options, and the words on what is going on."""
    parts: dict[str, Gradio] = {}
    with gr.Tabs():
        with gr.Tab("Files") as parts["files_tab"]:
            label = "Images and videos"
            parts["file"] = gr.File(label=label, height=170, elem_id="file", file_count="multiple")
            parts["file"].preprocess = _uploads  # Gradio's own forgets the names that files have at home
        with gr.Tab("Camera") as parts["camera_tab"]:
            parts["camera"] = gr.Image(
                label="Camera",
                sources=["webcam"],
                streaming=True,
                type="numpy",
                webcam_options=gr.WebcamOptions(mirror=False),  # what is mirrored on the screen would be analysed so
                elem_id="camera",
                height=220,
            )
    parts["status"] = gr.HTML(elem_id="status", padding=False)
    parts["progress"] = gr.HTML(elem_id="progress", padding=False)
    parts["stop"] = gr.Button("Stop", elem_id="stop", variant="stop", size="sm", visible=False)
    parts["rest"] = gr.Button("Analyse the other files", elem_id="rest", size="sm", visible=False)
    parts["files_shown"] = gr.Dropdown([], label="File", elem_id="files_shown", visible=False)
    parts["largest"] = gr.Checkbox(False, label="Only the largest face", elem_id="largest")
    label = "Videos: every n-th frame, n ="
    parts["every"] = gr.Number(1, label=label, precision=0, minimum=1, elem_id="every")
    return parts


def _results(gr: Gradio) -> dict[str, Gradio]:
    """Create player, downloads and table."""
    parts: dict[str, Gradio] = {"downloads": gr.Row(elem_id="downloads", visible=False)}
    with parts["downloads"]:
        parts["csv"] = gr.DownloadButton("Table (CSV)", elem_id="csv", variant="primary")
        parts["video"] = gr.DownloadButton("Video with action units", elem_id="video")
        parts["faces"] = gr.Button("Aligned faces (ZIP)", elem_id="faces")
    parts["faces_file"] = gr.DownloadButton("ZIP", elem_id="faces_file", visible="hidden")
    parts["player"] = gr.Video(
        label="Video with action units", interactive=False, elem_id="player", visible=False, height=460
    )
    parts["table"] = gr.Dataframe(label="Table", interactive=False, elem_id="table", visible=False, max_height=420)
    return parts


def _uploads(files: Any) -> list[Upload]:  # noqa: ANN401 - Gradio's ListFiles, or None
    """Return the files that were dropped, with their names."""
    dropped = [] if files is None else files.root
    return [Upload(file.path, file.orig_name or Path(file.path).name) for file in dropped]


def _image(gr: Gradio, label: str, name: str) -> Gradio:
    buttons = ["download", "fullscreen"]
    return gr.Image(  # its label would cover the image's corner
        label=label, show_label=False, interactive=False, format="png", elem_id=name, buttons=buttons
    )


class _Wiring:
    """What happens at events."""

    def __init__(self, gr: Gradio, parts: dict[str, Gradio], sessions: _Sessions, thresholds: str | None):
        self._gr, self._parts, self._sessions, self._thresholds = gr, parts, sessions, thresholds
        self._stamps = [parts["progress_stamp"], parts["scene_stamp"]]

    def connect(self, page: "gradio.Blocks", face_size: int) -> None:
        """Register all events."""
        self._draw_after_changes()
        self._run_at_drops(page)
        self._follow_choices()
        self._watch_camera()
        self._offer_faces(face_size)
        page.unload(self._handler(self._sessions.close))

    def _draw_after_changes(self) -> None:
        """Draw the page anew whenever its session has changed."""
        for stamp, names, draw in (
            ("progress_stamp", PROGRESS, rendering.progress),
            ("scene_stamp", SCENE, rendering.scene),
        ):
            self._parts[stamp].change(self._drawing(draw, names), None, [self._parts[n] for n in names], **_LAST)

    def _drawing(self, draw: Callable[[Gradio, Session], Updates], names: Sequence[str]) -> Handler:
        """Let a function return its updates as Gradio takes them: a list, in the order of the names."""

        def call(session: Session) -> list[Any]:
            updates = draw(self._gr, session)
            return [updates[name] for name in names]

        return self._handler(call)

    def _run_at_drops(self, page: "gradio.Blocks") -> None:
        """Analyse files when they are dropped or removed, and again when an option is changed; at first, an example.

        After Stop, the same files again: those that have results keep them.
        """
        parts, gr = self._parts, self._gr
        inputs = [parts[name] for name in ("file", "largest", "every", "clock")]
        triggers = [parts["file"].change, parts["largest"].input, parts["every"].input, parts["rest"].click]
        gr.on(triggers, self._generator(self._run), inputs, self._stamps, js=scripts.CLOCK, **_EVERY)
        page.load(self._generator(self._run_example), None, self._stamps, **_EVERY)
        parts["stop"].click(self._changing(Session.stop), None, self._stamps, **_EVERY)

    def _run(
        self, session: Session, uploads: list[Upload], largest: bool, every: float | None, clock: float
    ) -> Iterator[None]:
        if every is not None and every >= 1:  # not while a number is typed
            files = uploads or ([_EXAMPLE] if session.paths == (_EXAMPLE.path,) else [])
            run = session.begin(files, self._options(largest, every), clock)
            yield from () if run is None else session.work(run)

    def _run_example(self, session: Session) -> Iterator[None]:
        run = session.begin([_EXAMPLE], self._options(False, 1), 0.0)
        yield from () if run is None else session.work(run)

    def _options(self, largest: bool, every: float) -> PredictOptions:
        return PredictOptions(largest=largest, every=int(every), thresholds=self._thresholds)

    def _follow_choices(self) -> None:
        """Show what is chosen: a file, a frame, a face, an AU."""
        parts = self._parts
        for name, choose in (("files_shown", Session.choose_file), ("face", Session.choose_face)):
            parts[name].input(self._changing(choose), parts[name], self._stamps, **_LAST)
        inputs = [parts["frame_key"], parts["clock"]]
        parts["frame"].input(self._changing(Session.choose_frame), inputs, self._stamps, js=scripts.READ_FRAME, **_LAST)
        parts["image"].select(self._changing(_click_face, self._gr.SelectData), None, self._stamps, **_LAST)
        for name in ("bars", "timeline"):
            parts[name].click(self._changing(_click_au, self._gr.EventData), None, self._stamps, **_LAST)

    def _watch_camera(self) -> None:
        """Analyse what the browser's camera sees while its tab is open."""
        parts = self._parts
        for name, is_live in (("files_tab", False), ("camera_tab", True)):
            show = functools.partial(Session.show_camera, is_live=is_live)
            parts[name].select(self._changing(show), None, self._stamps, **_EVERY)
        inputs = [parts["camera"], parts["largest"]]
        parts["camera"].stream(
            self._changing(self._look), inputs, self._stamps, stream_every=0.1, time_limit=3600, **_HIDDEN
        )

    def _look(self, session: Session, image: "np.ndarray | None", largest: bool) -> None:
        if image is not None:
            session.look(image, self._options(largest, 1))

    def _offer_faces(self, size: int) -> None:
        """Collect a file's aligned faces when they are requested, and download them."""

        def collect(session: Session) -> str | None:
            view = session.view
            return None if view is None else str(analysis.write_faces(view, size))

        faces = self._parts["faces"].click(self._handler(collect), None, self._parts["faces_file"], **_HIDDEN)
        faces.then(None, self._parts["faces_file"], None, js=scripts.DOWNLOAD)

    def _changing(self, change: Callable[..., object], event: type | None = None) -> Handler:
        """Return a handler that changes the session, and returns the numbers of its last change."""

        def call(session: Session, *arguments: object) -> list[int]:
            change(session, *arguments)
            return _stamps(session)

        return self._handler(call, event)

    def _handler(self, function: Callable[..., object], event: type | None = None) -> Handler:
        """Return a function that Gradio calls, with the tab's session in front of the inputs, and event data if asked.

        Gradio tells by annotations that it has to pass the request and the event's data.
        """

        def call(request: Any, *arguments: Any) -> object:  # noqa: ANN401 - Gradio's inputs
            return function(self._sessions.of(request), *arguments)

        def call_with(request: Any, data: Any, *arguments: Any) -> object:  # noqa: ANN401
            return function(self._sessions.of(request), data, *arguments)

        chosen = call if event is None else call_with
        chosen.__annotations__ = {"request": self._gr.Request, "data": event}
        return chosen

    def _generator(self, function: Callable[..., Iterator[None]]) -> Handler:
        """Return a generator that Gradio iterates: the numbers of the session's last change, whenever there is one."""

        def call(request: Any, *arguments: Any) -> Iterator[list[int]]:  # noqa: ANN401 - Gradio's inputs
            session = self._sessions.of(request)
            with contextlib.closing(function(session, *arguments)) as changes:  # pyright: ignore[reportArgumentType]
                for _ in changes:
                    yield _stamps(session)
            yield _stamps(session)

        call.__annotations__ = {"request": self._gr.Request}
        return call


def _stamps(session: Session) -> list[int]:
    return [session.stamp.progress, session.stamp.scene]


def _click_face(session: Session, data: "gradio.SelectData") -> None:
    """Choose the face at the place of a click on the image."""
    view = session.view
    if view is not None:
        session.choose_face(view_lib.face_at(view, float(data.index[0]), float(data.index[1])))


def _click_au(session: Session, data: "gradio.EventData") -> None:
    """Choose the AU of a bar or a curve that was clicked on."""
    au = int(data._data["au"])
    session.choose_au(None if au < 0 else au)
