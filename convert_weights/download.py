"""Download of one published file through gdown: resumed where it stopped, checked, with instructions on failure."""

import re
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from convert_weights import files
from convert_weights.errors import ConversionError
from convert_weights.published import PublishedFile

RETRIES = 3
"""Number of retries of a failed connection, with growing delays."""

TIMEOUT = (30.0, 120.0)
"""Seconds to wait for a connection, and for the next bytes."""

_GONE = (404, 410)


def get(file: PublishedFile, directory: Path) -> Path:
    """Return the file in this directory: the existing one, or a download, resumed where an earlier one stopped.

    Raises:
      ConversionError: if it could not be downloaded, or is not a file of weights; the message tells how to download it
        by hand.
      OSError: if it cannot be written.
    """
    target = directory / file.name
    is_new = not target.exists()
    if is_new:
        _download(file, target)
    try:
        files.read(target)  # cheap, and finds an invalid file before the next one is downloaded
    except ConversionError as error:
        if is_new:
            target.unlink()
        remedy = "it was removed" if is_new else f"delete {target} to download it again"
        raise ConversionError(f"{error}\nThis is not the published file: {remedy}.\n{by_hand(file, target)}") from None
    return target


def by_hand(file: PublishedFile, target: Path) -> str:
    """Return instructions for a download by hand."""
    return f"By hand: open {file.link} in a browser, save the file as {target}, and run the same command again."


def _download(file: PublishedFile, target: Path) -> None:
    gdown = _gdown(file, target)
    from requests import RequestException  # what gdown downloads with

    print(f"downloading {file.title} from {file.link}", file=sys.stderr, flush=True)
    try:
        gdown.download(
            file.url,
            str(target),
            quiet=not sys.stderr.isatty(),
            use_cookies=False,
            resume=True,
            timeout=TIMEOUT,
            retries=RETRIES,
        )
    except (RequestException, gdown.exceptions.DownloadError) as error:
        reason = f"{file.title} could not be downloaded: {_reason(error, file, target)}"
        raise ConversionError(f"{reason}\n{by_hand(file, target)}") from error


def _gdown(file: PublishedFile, target: Path) -> ModuleType:
    try:
        import gdown
    except ImportError:
        missing = f"{target} does not exist, and downloading needs gdown: pip install 'fgnet_jax[fetch]'"
        raise ConversionError(f"{missing}\n{by_hand(file, target)}") from None
    return gdown


def _reason(error: Exception, file: PublishedFile, target: Path) -> str:
    """Return the reason of a failed download, for the user."""
    import requests
    from gdown.exceptions import FileURLRetrievalError

    origin = error if isinstance(error, requests.RequestException) else error.__cause__
    if isinstance(error, FileURLRetrievalError):
        return _page(str(error))
    if isinstance(origin, requests.HTTPError) and origin.response is not None:
        status = origin.response.status_code
        gone = "it was moved or deleted" if status in _GONE else "the server refused"
        return f"{gone} (HTTP {status})"
    if "incomplete" in str(error):
        return f"it was cut off; the same command resumes it ({_first_line(error)})"
    if isinstance(origin, requests.ConnectionError | requests.Timeout):
        return f"no connection to {urlsplit(file.url).hostname}; the same command tries again ({_first_line(error)})"
    return f"{_first_line(error)} Delete {target}*.part to start over."


def _page(text: str) -> str:
    """Return the reason for the page that Google Drive sent instead of the file."""
    if re.search(r"too many users|quota", text, re.IGNORECASE):
        return (
            "Google Drive sent a page instead of the file: its quota of downloads is used up. Downloads are possible "
            "again after a day, and often at once in a browser that is signed in."
        )
    return "Google Drive sent a page instead of the file: it was moved or deleted, or is not public any more."


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
