"""What one browser tab has: its files, the run that analyses them, and what is shown of the results.

The page never shows what an event returns: events change the session, and the page then draws the session as it is.
A run that was cancelled, or overtaken by a later one, therefore cannot show anything, whenever it ends.
"""

import contextlib
import dataclasses
import io
import itertools
import shutil
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fgnet_jax.app import analysis
from fgnet_jax.app import view as view_lib
from fgnet_jax.app.analysis import Ending, FrameCount
from fgnet_jax.app.state import CAMERA, Run, Snapshot, Stamp, Upload
from fgnet_jax.app.uploads import Uploads
from fgnet_jax.app.view import FileView
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.faces.live_finder import LiveFinder
from fgnet_jax.media import sources
from fgnet_jax.media.video_writer import VideoWriterError
from fgnet_jax.predict.pipeline import PredictOptions

if TYPE_CHECKING:
    from fgnet_jax.predict.network import Network

_PULSE = 0.3  # seconds from one sign of progress to the next
_RECENT = 4  # drawings of a name, and results of the camera, that stay: the browser may still load one of before


class Session:
    """The state of one browser tab; its methods may be called from any thread.

    Attributes:
      paths: The files that were dropped, in order.
      names: Their names, by path.
      results: Results by file: a view, or the reason why there is none.
      shown: The file that is shown, one of `results`; None for none.
      face_id: The face that was chosen; None for the first.
      au: Index of the AU whose heatmap was chosen; None for those that are present.
      run: The run that is going on; None for none.
      is_live: Whether the camera is shown.
      drawn: Key of the file that components were drawn for last which are not drawn again while it is shown; "" for no
        file, None before the first drawing.
    """

    def __init__(self, network: "Network", folder: Path, uploads: Uploads):
        """Create a session.

        Args:
          network: The network.
          folder: Its own folder for results and drawings, which need not exist; removed by `close`.
          uploads: The files of all sessions.
        """
        self.paths: tuple[str, ...] = ()
        self.names: dict[str, str] = {}
        self.results: dict[str, FileView | str] = {}
        self.shown: str | None = None
        self.face_id: int | None = None
        self.au: int | None = None
        self.run: Run | None = None
        self.is_live = False
        self.drawn: str | None = None
        self._network, self._folder, self._uploads = network, folder, uploads
        self._drawings: dict[str, list[Path]] = {}
        self._finished: set[Path] = set()  # folders of results that nothing is written into any more
        self._looks: list[Path] = []  # those of the camera
        self._live: tuple[PredictOptions, LiveFinder] | None = None  # what follows the camera's faces
        self._is_closed = False
        self._options = PredictOptions()
        self._clock = -1.0
        self._numbers = itertools.count(1)
        self._stamp = Stamp(0, 0)
        self._looking = threading.Lock()
        self._lock = threading.RLock()

    @property
    def view(self) -> FileView | None:
        """The results that are shown; None for none."""
        return self.snapshot().view

    def snapshot(self) -> Snapshot:
        """Return what is shown now, all of it of the same moment."""
        with self._lock:
            return Snapshot(
                paths=self.paths,
                names=dict(self.names),
                results=dict(self.results),
                shown=self.shown,
                face_id=self.face_id,
                au=self.au,
                is_running=self.run is not None,
                is_live=self.is_live,
            )

    @property
    def stamp(self) -> Stamp:
        """The number of the last change."""
        return self._stamp

    def begin(self, uploads: Sequence[Upload], options: PredictOptions, clock: float) -> Run | None:
        """Begin to analyse files, and cancel what was going on.

        Files that have results by the same options keep them. The new ones are analysed first, and then shown. Uploads
        that are not among the files any more are removed.

        Args:
          uploads: All files that are there now; empty for none.
          options: Options of prediction.
          clock: The browser's time of this request.

        Returns:
          The run, for `work`; None where a later request has come before this one, or the tab was closed.
        """
        with self._lock:
            names = {upload.path: Path(upload.name).name for upload in uploads}
            paths = tuple(names)
            self._uploads.hold(self, {*self.paths, *paths})
            if clock < self._clock or self._is_closed:
                self._uploads.hold(self, self.paths)
                return None
            self._clock = clock
            self.cancel()
            valid = {path: self.results[path] for path in paths if path in self.results and options == self._options}
            missing = [path for path in paths if path not in valid]
            if self.shown in missing:
                missing.sort(key=lambda path: path != self.shown)  # after a change of options: what is looked at first
            else:
                missing.sort(key=lambda path: path in self.paths)
            self.is_live = False
            self.names, self.results, self.paths, self._options = names, valid, paths, options
            self._uploads.hold(self, paths)
            self._remove_unused()
            if self.shown not in valid:
                self._show(next(iter(valid), None))
            run = Run(tuple(missing), tuple(names[path] for path in missing), options)
            self.run = run if missing else None
            self._changed()
            return run

    def work(self, run: Run) -> Iterator[None]:
        """Analyse the files of a run; yields whenever the page may be drawn again."""
        try:
            for at, path in enumerate(run.paths):
                run.at = at
                yield from self._analyse(run, path)
                if run.ending.cancel.is_set() or run.ending.stop.is_set():
                    break
        except analysis.CancelledError:
            pass
        finally:  # also where the browser has gone, and this generator is closed
            run.ending.cancel.set()
            with self._lock:
                if self.run is run:
                    self.run = None
                    self._changed()
        yield

    def _analyse(self, run: Run, path: str) -> Iterator[None]:
        """Analyse one file."""
        run.count, run.begun = FrameCount(0, None), time.monotonic()
        name = run.names[run.at]
        with self._new_folder() as folder:
            try:
                yield self._progressed()
                source = dataclasses.replace(sources.find([path])[0], name=name)
                counts = analysis.analyse(self._network, source, run.options, folder=folder, ending=run.ending)
                view = yield from self._counted(run, counts)
                self._finish(run, path, view)
            except (DetectorError, VideoWriterError, OSError) as error:
                self._finish(run, path, f"{name}: {error}")
        yield

    def _counted(self, run: Run, counts: analysis.Analysis) -> Generator[None, None, FileView]:
        """Pass the signs of progress on, no more of them than the page can draw."""
        last = time.monotonic()
        while True:
            try:
                run.count = next(counts)
            except StopIteration as end:
                return end.value
            if run.ending.cancel.is_set():
                counts.close()
                raise analysis.CancelledError
            if time.monotonic() - last > _PULSE:
                last = time.monotonic()
                yield self._progressed()

    def _finish(self, run: Run, path: str, result: FileView | str) -> None:
        """Take a file's result, unless nobody waits for it any more."""
        with self._lock:
            if self.run is not run or run.ending.cancel.is_set() or path not in self.paths:
                raise analysis.CancelledError
            self.results[path] = result
            if not self.is_live and (self.shown is None or path == run.paths[0]):
                self._show(path)
            self._changed()

    def stop(self) -> None:
        """Stop the run; what it has done stays."""
        with self._lock:
            if self.run is not None:
                self.run.ending.stop.set()

    def cancel(self) -> None:
        """Cancel the run; nothing of the file that it is at stays."""
        with self._lock:
            if self.run is not None:
                self.run.ending.cancel.set()
                self.run = None
                self._changed()

    def close(self) -> None:
        """Cancel the run, and remove all uploads and results; whatever comes later changes nothing."""
        with self._lock:
            self.cancel()
            self._is_closed, self.is_live, self._live = True, False, None
            self.paths, self.results, self.shown = (), {}, None
            self._uploads.hold(self, ())
            self._remove_unused()

    def look(self, image: np.ndarray, options: PredictOptions) -> None:
        """Analyse an image (height, width, 3) uint8 of the camera and show it, unless another is being analysed.

        So what is late is dropped, and the next image is one that comes when the network is free.
        """
        if not self.is_live or not self._looking.acquire(blocking=False):
            return
        begun = time.monotonic()
        source = sources.Source(CAMERA, "array", array=image)
        try:
            with self._new_folder() as folder:
                find = self._live_finder(options).find
                counts = analysis.analyse(self._network, source, options, folder=folder, ending=Ending(), find=find)
                view = _exhausted(counts)
                self._take_look(dataclasses.replace(view, latency=time.monotonic() - begun))
        except OSError:
            if not self._is_closed:  # which removes the folder in the midst of it
                raise
        finally:
            self._looking.release()

    def _live_finder(self, options: PredictOptions) -> LiveFinder:
        """Return what follows the camera's faces, by these options."""
        if self._live is None or self._live[0] != options:
            self._live = options, LiveFinder(options.finder_options(self._network.config.image_size))
        return self._live[1]

    def _take_look(self, view: FileView) -> None:
        """Show what came of the camera's image, unless the camera is not shown any more."""
        with self._lock:
            if self.is_live:
                self.results[CAMERA] = view
                self._looks = [*self._looks, view.csv.parent][-_RECENT:]
                self._remove_unused()
                if self.shown != CAMERA:
                    self._show(CAMERA)
                self._changed()

    def show_camera(self, is_live: bool) -> None:
        """Show the camera instead of the files, or the files again."""
        with self._lock:
            if is_live == self.is_live or self._is_closed:
                return
            self.is_live, self._live = is_live, None
            self.results.pop(CAMERA, None)
            self._remove_unused()
            self._show(None if is_live else next((path for path in self.paths if path in self.results), None))
            self._changed()

    def choose_file(self, path: str) -> None:
        """Show another file, if it has a result."""
        with self._lock:
            if path in self.results and path != self.shown:
                self._show(path)
                self._changed()

    def choose_frame(self, key: str, number: float) -> None:
        """Show the frame of the table that is nearest to this number.

        Args:
          key: `FileView.key` of the file whose frame is meant; for one that is not shown any more, nothing changes.
          number: The frame's number, in the file or beyond it.
        """
        now = self.snapshot()
        path, view = now.shown, now.view
        if view is None or path is None or view.key != key:
            return
        new = view_lib.show_frame(self._network, view, number)
        with self._lock:
            if self.results.get(path) is view:
                self.results[path] = new
                self._changed()

    def choose_face(self, face_id: int | None) -> None:
        """Show another face close up; None changes nothing."""
        with self._lock:
            if face_id is not None and face_id != self.face_id:
                self.face_id = face_id
                self._changed()

    def choose_au(self, au: int | None) -> None:
        """Show another AU's heatmap, by its index; None for those that are present."""
        with self._lock:
            if au != self.au and self.view is not None and (au is None or 0 <= au < len(self.view.aus)):
                self.au = au
                self._changed()

    def save_drawing(self, name: str, drawing: Image.Image | None) -> str | None:
        """Write a drawing into the session's folder, and return its path; None for none.

        The last few of this name stay; where there is no drawing, none does.
        """
        stream = io.BytesIO()
        if drawing is not None:
            drawing.save(stream, "PNG")
        with self._lock:
            before, new = self._drawings.get(name, []), []
            if drawing is not None and not self._is_closed:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                new = [self._folder / f"{name}{next(self._numbers)}.png"]
                new[0].write_bytes(stream.getvalue())
            self._drawings[name] = [*before, *new][-_RECENT:] if new else []
            for path in set(before).difference(self._drawings[name]):
                path.unlink(missing_ok=True)
            return str(new[0]) if new else None

    def _show(self, path: str | None) -> None:
        self.shown, self.face_id, self.au = path, None, None

    @contextlib.contextmanager
    def _new_folder(self) -> Iterator[Path]:
        """Create a folder for results; where they are not shown when the block ends, it is removed."""
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(mode=0o700, parents=True)
        try:
            yield folder
        finally:
            with self._lock:
                self._finished.add(folder)
                self._remove_unused()

    def _remove_unused(self) -> None:
        """Remove the results that are not shown any more; of a tab that was closed, everything."""
        if self._is_closed:
            shutil.rmtree(self._folder, ignore_errors=True)
        if CAMERA not in self.results:
            self._looks = []
        used = {view.csv.parent for view in self.results.values() if isinstance(view, FileView)} | set(self._looks)
        for folder in self._finished - used:
            shutil.rmtree(folder, ignore_errors=True)
        self._finished &= used

    def _progressed(self) -> None:
        with self._lock:
            self._stamp = Stamp(self._stamp.progress + 1, self._stamp.scene)

    def _changed(self) -> None:
        with self._lock:
            self._stamp = Stamp(self._stamp.progress + 1, self._stamp.scene + 1)


def _exhausted(counts: analysis.Analysis) -> FileView:
    """Run an analysis to its end."""
    while True:
        try:
            next(counts)
        except StopIteration as end:
            return end.value
