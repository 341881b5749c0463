"""`python -m convert_weights fetch`: downloads what is published, and converts it.

Exit status: 0; 1 if a file could not be had or converted; 2 for a wrong command line, or licences that were not
accepted (nothing has been downloaded then); 130 if interrupted. Whatever came stays, and the same command goes on.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from convert_weights import download, published
from convert_weights.errors import ConversionError

RECORD = "LICENCES.txt"
"""Beside the files: the terms that were accepted for them."""

_DESCRIPTION = """\
Downloads what is published and converts it: FG-Net trained on BP4D or DISFA, or what training starts from.

  python -m convert_weights fetch disfa --output weights/fgnet_disfa
  python -m convert_weights fetch pretrained --output weights/pretrained --accept-licences

Needs gdown: pip install 'fgnet_jax[fetch]'. The licences are shown and asked for once. A download that was stopped goes
on where it was; files that lie in --files already, under the names below, are not downloaded.
"""


class NotAccepted(Exception):
    """The licences were not accepted; the message says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    from fgnet_jax.models.weights import WeightsError  # after the help and its errors, which need not wait for JAX

    try:
        for line in _run(options):
            print(line)
    except NotAccepted as error:
        return _fail(error, 2)
    except (ConversionError, WeightsError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("interrupted; what came is kept, and the same command goes on from there", 130)
    return 0


def _run(options: argparse.Namespace) -> list[str]:
    from convert_weights import convert, sizes

    convert.check_free(options.output, options.overwrite)
    config = sizes.named(options.config)
    wanted = published.WEIGHTS[options.weights]
    directory = options.files or options.output.parent / "published"
    _agree(wanted, directory, options.accept_licences)
    first, encoder = (download.get(file, directory) for file in wanted)
    if options.weights in published.MODELS:
        conversion = convert.trained(first, encoder, config, options.weights)
    else:
        conversion = convert.pretrained(first, encoder, config, options.seed)
    lines = convert.write(options.output, conversion, options.overwrite)
    return [*lines, f"the published files stay in {directory}, for other weights; these do not need them any more"]


def _agree(wanted: Sequence[published.PublishedFile], directory: Path, accepted: bool) -> None:
    """Shows the terms and asks, unless they were accepted before; keeps them beside the files.

    Raises:
      NotAccepted: if the answer is no, or there is nobody to ask.
    """
    record = directory / RECORD
    known = record.read_text(encoding="utf-8") if record.exists() else ""
    new = [terms for terms in map(published.spell_terms, wanted) if terms not in known]
    if not new:
        return
    print("\n".join(new))
    if not accepted and not sys.stdin.isatty():
        raise NotAccepted("these terms must be accepted: run it in a terminal, or add --accept-licences")
    if not accepted and not _says_yes("Do you accept these terms? [y/N] "):
        raise NotAccepted("the terms were not accepted; nothing was downloaded")
    directory.mkdir(parents=True, exist_ok=True)
    record.write_text("\n".join([*[known] * bool(known), *new]), encoding="utf-8")


def _says_yes(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _parser() -> argparse.ArgumentParser:
    everything = (*published.MODELS.values(), published.GENERATOR, published.ENCODER)
    parser = argparse.ArgumentParser(
        prog="python -m convert_weights fetch",
        description=_DESCRIPTION,
        epilog="\n".join(map(published.spell_terms, everything)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("weights", choices=tuple(published.WEIGHTS), help="FG-Net trained on a corpus, or what training starts from")
    add("--output", type=Path, required=True, metavar="DIR", help="the weights directory to write")
    add("--files", type=Path, metavar="DIR", help="where published files go (default: published/ beside the output)")
    add("--accept-licences", action="store_true", help="accept the terms below without being asked, for scripts")
    add("--seed", type=int, default=0, help="pretrained: seed of the freshly initialised interpreter (default 0)")
    add("--config", default="published", help=argparse.SUPPRESS)  # other sizes are for tests
    add("--overwrite", action="store_true", help="replace the output if it exists")
    return parser


def _fail(reason: object, status: int) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return status
