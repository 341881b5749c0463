"""The static page of docs/web: its folder, served, and what it shows; for tests in a browser."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs/web"
_RUNTIME = Path(os.environ.get("FGNET_JAX_ORT_WEB", PAGE / "ort"))
_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


def copy_page(folder: Path) -> Path:
    """Copy the page's folder, without networks and ONNX Runtime; return the copy."""
    return Path(shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("ort", "*.onnx*")))


def copy_runtime(folder: Path) -> None:
    """Copy onnxruntime-web's files into a page's folder; skip the test where there are none."""
    if not all((_RUNTIME / name).exists() for name in _FILES):
        pytest.skip(f"needs onnxruntime-web's files in {_RUNTIME}: docs/web/README.md says which")
    (folder / "ort").mkdir(exist_ok=True)
    for name in _FILES:
        shutil.copyfile(_RUNTIME / name, folder / "ort" / name)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder as README.md says; give the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        while server.poll() is None:
            with socket.socket() as connection:
                if connection.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
        server.terminate()


def shown_scores(page, number: int) -> list[float]:
    """Wait until `number` results have been shown, and return the scores of the bars."""
    page.wait_for_function("number => document.body.dataset.results >= number", arg=number)
    return [float(bar.get_attribute("data-score")) for bar in page.locator("#bars button").all()]


def drop_image(page, path: Path, image: np.ndarray) -> None:
    """Write an image, and open it in the page."""
    Image.fromarray(image).save(path)
    page.locator("#file").set_input_files(str(path))
