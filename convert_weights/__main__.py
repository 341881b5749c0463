"""`python -m convert_weights`: converts published weights to a weights directory, and back."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from convert_weights.errors import ConversionError
from fgnet_jax.runtime import command_line, devices
from fgnet_jax.runtime.command_line import Parser, fail, program

_DESCRIPTION = """\
Convert published weights to a weights directory, without PyTorch, TensorFlow or NVIDIA's sources, and without running
any code that is in them; and write FG-Net's own file back.

  In one step: download the published files and convert them (see `fetch --help`):
    python -m convert_weights fetch disfa --output weights/fgnet_disfa

  As the starting point of training, with a freshly initialised interpreter:
    python -m convert_weights --generator stylegan2-ffhq-config-f.pt --encoder psp_ffhq_encode.pt --output weights/pretrained

  FG-Net as published (the encoder's file has the average latent, which model.pth lacks):
    python -m convert_weights --fgnet model.pth --encoder psp_ffhq_encode.pt --corpus disfa --output weights/fgnet_disfa

  Back to FG-Net's own format (needs PyTorch: pip install 'fgnet_jax[torch]'):
    python -m convert_weights --weights weights/fgnet_disfa --to-pytorch model.pth
"""  # noqa: E501 - commands to be copied as they are

_FORMS = (
    {"generator", "encoder", "output"},
    {"fgnet", "encoder", "corpus", "output"},
    {"weights", "to_pytorch"},
)


@command_line.command("convert_weights")
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
      Its exit status: 0, or 1 if a file was refused; for `fetch`, see `convert_weights.fetch`.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["fetch"]:
        from convert_weights import fetch

        return fetch.main(arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    _check_form(parser, options)
    from fgnet_jax.models.weights import WeightsError  # after parsing, so that --help does not load JAX

    devices.check()
    try:
        for line in _run(options):
            print(line)
    except BrokenPipeError:  # of standard output
        raise
    except (ConversionError, WeightsError, OSError) as error:
        return fail(parser.prog, error, 1)
    return 0


def _run(options: argparse.Namespace) -> list[str]:
    from convert_weights import convert, sizes, to_pytorch

    if options.weights:
        return to_pytorch.export(options.weights, options.to_pytorch, options.overwrite)
    convert.check_free(options.output, options.overwrite)
    config = sizes.named(options.config)
    if options.fgnet:
        conversion = convert.trained(options.fgnet, options.encoder, config, options.corpus)
    else:
        conversion = convert.pretrained(options.generator, options.encoder, config, options.seed)
    return convert.write(options.output, conversion, options.overwrite)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(_DESCRIPTION, program("convert"))
    add = parser.add_argument
    add("--generator", type=Path, help="stylegan2-ffhq-config-f.pt, or NVIDIA's pickle of StyleGAN2 (either kind)")
    add("--encoder", type=Path, help="psp_ffhq_encode.pt")
    add("--fgnet", type=Path, help="FG-Net's model.pth")
    add(
        "--corpus",
        choices=("bp4d", "disfa"),
        help="the corpus that --fgnet was trained on: it decides the AUs and their order",
    )
    add("--output", type=Path, help="the weights directory to write")
    add("--weights", type=Path, help="a weights directory to read")
    add("--to-pytorch", type=Path, metavar="FILE", help="the model.pth to write")
    add("--seed", type=command_line.natural, default=0, help="seed of the freshly initialised interpreter (default 0)")
    add("--config", default="published", help="sizes: published (default), tiny, or a JSON file such as model.json")
    add("--overwrite", action="store_true", help="replace the output if it exists")
    return parser


def _check_form(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with a usage error unless the options are those of one of the three forms."""
    names = set().union(*_FORMS)
    given = {name for name in names if getattr(options, name) is not None}
    if given in _FORMS:
        return
    form = max(_FORMS, key=lambda form: (len(form & given), -len(form)))
    missing, surplus = _flags(form - given), _flags(given - form)
    _usage(parser, f"missing: {missing}" if missing else f"these cannot be combined: {surplus} with {_flags(form)}")


def _flags(names: set[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))


def _usage(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    parser.error(f"{message}; see --help for the three forms")


if __name__ == "__main__":
    sys.exit(main())
