"""What a run records in the JSON beside its table: its settings and software, and what it learns of its inputs."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.faces import live_finder
from fgnet_jax.media import camera
from fgnet_jax.media.frames import SEVERAL_KINDS, VIDEO_KINDS, Frame
from fgnet_jax.media.sources import Source
from fgnet_jax.predict import input_files, run_record
from fgnet_jax.predict.columns import DIALECT_VERSIONS
from fgnet_jax.predict.record_files import RecordFiles
from fgnet_jax.predict.request import PredictionRequest
from fgnet_jax.runtime import provenance
from fgnet_jax.runtime.command_line import status
from fgnet_jax.runtime.hashing import FileHasher
from fgnet_jax.runtime.version import __version__

if TYPE_CHECKING:
    from fgnet_jax.predict.detector import WeightsDescription
    from fgnet_jax.predict.network import Network

PACKAGES = {
    "pillow": ("pillow",),
    "av": ("av",),
    "dlib": ("dlib-bin", "dlib"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
}
"""Packages that read images and find faces, by the name that is recorded: of several, one is installed."""

_WRITING_SHARE = 0.02  # of a run's time that its record may be written in, on the way


def settings(request: PredictionRequest, weights: "WeightsDescription", thresholds: np.ndarray) -> dict[str, Any]:
    """Return what determines a table's rows, as far as it is known before the weights are loaded."""
    from fgnet_jax.models import lineage

    smoothing = request.options.smoothing(request.arguments.webcam is not None)
    size, aus = weights.config.image_size, weights.meta.aus
    return {
        "version": __version__,
        "sources": list(weights.meta.sources),
        "corpus": weights.meta.corpus,
        "learnt_from": lineage.learnt_from(weights.meta),
        "aus": list(aus),
        "thresholds": {aus_lib.label(au): float(at) for au, at in zip(aus, thresholds, strict=True)},
        "detector": request.options.finder_options(size).describe(),
        "alignment": run_record.NO_ALIGNMENT if request.options.aligned else run_record.ALIGNMENT,
        "aligned_size": size,
        "every": request.options.every,
        "smoothing": smoothing.describe() if smoothing else None,
        "precision": weights.config.dtype,
        "intensity": _intensity(weights),
        "dialect": DIALECT_VERSIONS.get(request.outputs.dialect or ""),
        "peaks": request.outputs.peaks,
    }


def _intensity(weights: "WeightsDescription") -> dict[str, Any] | None:
    """Return where intensities come from: the rule, its AUs and subjects, its checksum; None for presence alone."""
    if (fitted := weights.calibration) is None:
        return None
    aus, fitted_on = [aus_lib.label(au) for au in fitted.aus], dict(fitted.fitted_on)
    return {"rule": fitted.rule, "aus": aus, "fitted_on": fitted_on, "sha256": fitted.sha256}


def record(request: PredictionRequest, known: dict[str, Any], network: "Network", sums: str | None) -> dict[str, Any]:
    """Return the JSON beside the table, as at the beginning of a run.

    Args:
      request: The run's request.
      known: Its `settings`.
      network: The network; its weights' folder is among the arguments: it may be moved.
      sums: `WeightsDescription.sums`.
    """
    import jax

    device = jax.devices()[0]
    return {
        **known,
        "weights": {"sha256": network.checksum},
        "weights_sums": sums,
        "frame_rates": {},
        "batch_size": network.batch_size,
        "device": {"kind": device.device_kind, "platform": device.platform, "count": network.layout.mesh.size},
        "arguments": _arguments(request),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "git": None,  # `RunRecorder` asks git meanwhile
        "inputs": {source.name: _facts(source) for source in request.sources},
        "input_count": len(request.sources),  # an input may be named twice
        "live": None if request.arguments.webcam is None else {"detection": live_finder.RULE},
        "complete": False,
    }


def _facts(source: Source) -> dict[str, int]:
    """Return what can be told of an input without reading it."""
    return {} if source.kind == "webcam" else input_files.facts(source.path)


def _arguments(request: PredictionRequest) -> dict[str, Any]:
    """Return the command line, without the password that a camera's address may have."""
    device = request.arguments.webcam
    return vars(request.arguments) | ({"webcam": camera.name(device)} if isinstance(device, str) else {})


def versions() -> dict[str, str | None]:
    """Return the versions of what a table's numbers may depend on; None for what is not installed."""
    found = provenance.versions()
    for name, packages in PACKAGES.items():
        found[name] = next(filter(None, map(provenance.version, packages)), None)
    if found["av"]:
        import av

        found["ffmpeg"] = av.ffmpeg_version_info
    return found


class RunRecorder:
    """Keeps the JSON beside each table up to date: frame rates of videos, and facts and SHA-256 of all inputs.

    Where there is no such JSON, it does nothing.
    """

    def __init__(
        self, request: PredictionRequest, record: dict[str, Any], first_source: int, files: RecordFiles | None = None
    ):
        """Start the thread that reads inputs once more, each after its first frame was written.

        Args:
          request: The run's request.
          record: The JSON, whose `inputs` and `frame_rates` may have values of the run that is resumed.
          first_source: Index of the first input that this run reads; those before are read for their sums alone.
          files: The files, if an earlier run's were read from them.
        """
        self._record, self._first_source = record, first_source
        self._files = files or RecordFiles(request.outputs, request.sources)
        self._first: Frame | None = None
        self._last: Frame | None = None
        self._paths: dict[str, str] = {}
        self._written, self._cost = 0.0, 0.0
        self._hasher = FileHasher()
        pool = ThreadPoolExecutor(1, "git")  # a checkout on a network drive may take seconds
        self._git = pool.submit(provenance.git_state, Path(__file__).resolve().parent)
        pool.shutdown(wait=False)
        for source in request.sources[:first_source]:
            if "sha256" not in record["inputs"].get(source.name, {}):
                self._hash(source.name, source.path)

    def add(self, frame: Frame) -> None:
        """Count a frame that was written."""
        if self._last is None or self._last.index != frame.index:
            self._end_source()
            if self._last is not None and self._files.is_per_input:
                self._files.write(self._record, complete=True, source=self._last.index)
            if frame.source.kind != "webcam":
                self._hash(frame.source.name, frame.source.path)
            if self._last is not None and self._files.is_per_input and frame.source.kind in SEVERAL_KINDS:
                self._files.write(self._record, complete=False, source=frame.index)  # from which it can be resumed
            self._first = None
        self._last = dataclasses.replace(frame, image=None)
        if self._first is None and frame.seconds is not None:
            self._first = self._last

    def add_live(self, numbers: Mapping[str, Any]) -> None:
        """Record how many frames of a camera were captured, predicted and dropped, and the latency."""
        self._record["live"] = {**(self._record["live"] or {}), **numbers}

    def begin(self) -> None:
        """Write the JSON for the first time.

        Raises:
          OSError: It cannot be written.
        """
        self._record["git"] = self._git.result()
        self._write()

    def wait(self, should_stop: Callable[[], object]) -> None:
        """Wait for the sums of inputs; no longer if `should_stop` returns something true (`FileHasher.close`)."""
        self._hasher.close(should_stop)

    def finish(self, *, complete: bool) -> None:
        """Write the JSON for the last time, after the table was closed.

        Args:
          complete: Whether the table is.

        Raises:
          OSError: It cannot be written.
        """
        self._end_source()
        self._write(complete=complete)

    def _hash(self, name: str, path: str | int | None) -> None:
        if self._files.is_active and isinstance(path, str):
            self._paths[name] = path
            self._hasher.add(path)

    def _end_source(self) -> None:
        """Record the facts of a source that has ended, and a video's frame rate; write them unless that takes long."""
        first, last = self._first, self._last
        if last is None:
            return
        if last.facts:
            self._record["inputs"].setdefault(last.source.name, {}).update(last.facts)
        if first is not None and last.source.kind in VIDEO_KINDS and (rate := _rate(first, last)) is not None:
            self._record["frame_rates"][last.source.name] = rate
        if last.source.kind in VIDEO_KINDS and time.monotonic() - self._written > self._cost / _WRITING_SHARE:
            self._write()

    def _write(self, *, complete: bool = False) -> None:
        if not self._files.is_active:
            return
        begun = time.monotonic()
        self._add_sums()
        last = self._first_source if self._last is None else self._last.index
        self._files.write_all(self._record, complete=complete, last=last)
        self._written = time.monotonic()
        self._cost = self._written - begun

    def _add_sums(self) -> None:
        """Record the sums that are known by now; none of a file that has changed since, which is reported."""
        found = self._hasher.sums()
        for name, path in [*self._paths.items()]:
            if path not in found:
                continue
            del self._paths[name]
            facts = self._record["inputs"].setdefault(name, {})
            if facts.get("sha256", found[path].sha256) != found[path].sha256 or input_files.change(path, facts):
                status("predict", f"{name} has changed since this run began: its rows are not certain; predict it anew")
                continue
            facts |= dataclasses.asdict(found[path])


def _rate(first: Frame, last: Frame) -> float | None:
    """Return the frames per second between two frames of a video; None where time does not pass between them."""
    if first.seconds is None or last.seconds is None or last.seconds <= first.seconds:
        return None
    return round((last.number - first.number) / (last.seconds - first.seconds), 3)
