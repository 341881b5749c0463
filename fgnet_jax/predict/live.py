"""A camera through detector and network at its own pace, each on a thread that takes the newest frame there is.

    camera --newest--> faces (tracked, aligned) --newest--> network --in turn--> whoever writes and draws

What is late is dropped before it costs anything more; whatever the network has computed is written. A writer that is
slower than the network holds it up, and so more is dropped: nothing piles up anywhere.
"""

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

from fgnet_jax.faces import live_finder
from fgnet_jax.faces.finder import DetectedFrame
from fgnet_jax.media import frames
from fgnet_jax.media.frames import Frame
from fgnet_jax.media.prefetch import closing
from fgnet_jax.media.sources import Source
from fgnet_jax.predict import pipeline
from fgnet_jax.predict.latency import LatencyMeter
from fgnet_jax.predict.pipeline import FrameResult, PredictOptions
from fgnet_jax.runtime.handover import Handover
from fgnet_jax.runtime.progress import Stages
from fgnet_jax.runtime.signals import Stopped

if TYPE_CHECKING:
    from fgnet_jax.predict.network import Network

_POLL_SECONDS = 0.1  # after which a signal is noticed where no result comes


class LiveCamera:
    """A camera whose frames are predicted as they come.

    Attributes:
      meter: The latency of results, and the frames that were dropped.
    """

    def __init__(self, network: "Network", source: Source, options: PredictOptions, *, heatmaps: bool, stages: Stages):
        """Load what finds faces; the camera is opened by `results`.

        Args:
          network: The network.
          source: A camera.
          options: Options of prediction; with `every`, only every so many of the captured frames are considered.
          heatmaps: Whether results have heatmaps.
          stages: Measures detection, alignment and the network.

        Raises:
          DetectorError: dlib or its data file is missing.
        """
        self.meter = LatencyMeter(options.every)
        self._network, self._source, self._options = network, source, options
        self._heatmaps, self._stages = heatmaps, stages
        self._threads: tuple[Handover, ...] = ()
        finder_options = options.finder_options(network.config.image_size)
        self._detected = live_finder.find(self._newest(), finder_options, stages.timed)

    def results(self, stop: Callable[[], str | None]) -> Generator[FrameResult, None, None]:
        """Yield the frames with the network's output, until the camera ends.

        Args:
          stop: Returns the name of a signal that stops the run, or None to continue.

        Raises:
          Stopped: `stop` returned a signal's name, the exception's message.
        """
        self._camera = Handover(self._captured(), "camera", newest=True)
        faces = Handover(self._detected, "faces", newest=True)
        results = Handover(self._predicted(iter(faces)), "network", newest=False)
        self._threads, signal = (self._camera, faces, results), None
        try:
            while not results.is_over:
                if signal is None and (signal := stop()):
                    self._camera.close()  # what is on its way is finished
                    faces.close()
                if (result := results.take(_POLL_SECONDS)) is not None:
                    yield result
        finally:
            self.close()
        if signal:
            raise Stopped(signal)

    def close(self) -> None:
        """End the threads."""
        for thread in self._threads:
            thread.close()

    def _captured(self) -> Iterator[Frame]:
        """Yield the camera's frames, but for those that get no result."""
        with closing(read := frames.read([self._source], self._options.every)):
            for frame in read:
                if not frame.is_done:
                    self.meter.capture(frame)
                    yield frame

    def _newest(self) -> Iterator[Frame]:
        """Yield the newest frame, again and again."""
        yield from self._camera

    def _predicted(self, detected: Iterator[DetectedFrame]) -> Iterator[FrameResult]:
        """Run the network on the newest frame whose faces are found, again and again."""
        for frame in detected:
            with self._stages.timed("network (thread)"):
                result = pipeline.predict_frame(self._network, frame, heatmaps=self._heatmaps)
            self.meter.add(frame.frame, len(frame.faces))
            yield result
