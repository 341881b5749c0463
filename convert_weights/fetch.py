"""`python -m convert_weights fetch`: downloads the published files, and converts them.

Exit status: 0; 1 if a file could not be downloaded or converted; 2 for a wrong command line, or licences that were not
accepted (nothing has been downloaded then); 130 if interrupted. Partial downloads stay, and the same command resumes
them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from convert_weights import download, published
from convert_weights.errors import ConversionError
from fgnet_jax.runtime.command_line import Parser, fail, program

RECORD = "LICENCES.txt"
"""The file beside the downloads that records the accepted terms."""

_DESCRIPTION = """\
Download the published files and convert them: FG-Net trained on BP4D or DISFA, or the starting point of training.

  python -m convert_weights fetch disfa --output weights/fgnet_disfa
  python -m convert_weights fetch pretrained --output weights/pretrained --accept-licences

Needs gdown: pip install 'fgnet_jax[fetch]'. The licences are shown for acceptance once. An interrupted download is
resumed; files that exist in --files, under the names below, are not downloaded.
"""


class NotAcceptedError(Exception):
    """The licences were not accepted; the message tells what to do."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    from fgnet_jax.models.weights import WeightsError  # after parsing, so that --help does not load JAX

    try:
        for line in _run(options):
            print(line)
    except NotAcceptedError as error:
        return fail(parser.prog, error, 2)
    except BrokenPipeError:  # of standard output
        raise
    except (ConversionError, WeightsError, OSError) as error:
        return fail(parser.prog, error, 1)
    except KeyboardInterrupt:
        return fail(parser.prog, "interrupted; the same command resumes the download", 130)
    return 0


def _run(options: argparse.Namespace) -> list[str]:
    from convert_weights import convert, sizes

    convert.check_free(options.output, options.overwrite)
    config = sizes.named(options.config)
    files = published.WEIGHTS[options.weights]
    directory = options.files or options.output.parent / "published"
    _accept(files, directory, options.accept_licences)
    first, encoder = (download.get(file, directory) for file in files)
    if options.weights in published.MODELS:
        conversion = convert.trained(first, encoder, config, options.weights)
    else:
        conversion = convert.pretrained(first, encoder, config, options.seed)
    lines = convert.write(options.output, conversion, options.overwrite)
    return [
        *lines,
        f"the published files stay in {directory}, for converting other weights; these weights do not need them",
    ]


def _accept(files: Sequence[published.PublishedFile], directory: Path, accepted: bool) -> None:
    """Show the terms for acceptance, unless they were accepted before; record accepted ones beside the files.

    Raises:
      NotAcceptedError: if the user does not accept them, or there is no terminal.
    """
    record = directory / RECORD
    known = record.read_text(encoding="utf-8") if record.exists() else ""
    new = [terms for terms in map(published.format_terms, files) if terms not in known]
    if not new:
        return
    print("\n".join(new))
    if not accepted and not sys.stdin.isatty():
        raise NotAcceptedError("these terms must be accepted: run it in a terminal, or add --accept-licences")
    if not accepted and not _confirm("Do you accept these terms? [y/N] "):
        raise NotAcceptedError("the terms were not accepted; nothing was downloaded")
    directory.mkdir(parents=True, exist_ok=True)
    record.write_text("\n".join([*[known] * bool(known), *new]), encoding="utf-8")


def _confirm(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _parser() -> argparse.ArgumentParser:
    everything = (*published.MODELS.values(), published.GENERATOR, published.ENCODER)
    parser = Parser(_DESCRIPTION, f"{program('convert')} fetch")
    parser.epilog = "\n".join([parser.epilog or "", *map(published.format_terms, everything)])
    add = parser.add_argument
    add(
        "weights",
        choices=tuple(published.WEIGHTS),
        help="FG-Net trained on a corpus, or the starting point of training",
    )
    add("--output", type=Path, required=True, metavar="DIR", help="the weights directory to write")
    add(
        "--files",
        type=Path,
        metavar="DIR",
        help="folder of the published files (default: published/ beside the output)",
    )
    add("--accept-licences", action="store_true", help="accept the terms below without a question, for scripts")
    add("--seed", type=int, default=0, help="pretrained: seed of the freshly initialised interpreter (default 0)")
    add("--config", default="published", help=argparse.SUPPRESS)  # other sizes are for tests
    add("--overwrite", action="store_true", help="replace the output if it exists")
    return parser
