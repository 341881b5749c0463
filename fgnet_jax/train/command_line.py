"""The command line of training: absl's flags and ml_collections' overrides, with other commands' help and spelling."""

import argparse
import ast
import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from absl import flags

from fgnet_jax.runtime import command_line
from fgnet_jax.train import defaults
from fgnet_jax.train.defaults import Config, ConfigError

COMMAND = "fgnet_jax.train"
"""The command, as its messages name it."""

MOST_USED = {
    "data.dir": "folder of the prepared corpora",
    "data.fold": "the fold to test on",
    "init_from": "weights to start from, a directory; empty: from scratch",
    "init_fold": "the fold that these weights left out, where they do not record it",
    "train.batch_size": "faces a step, over all devices",
    "train.accumulate": "parts that a batch is split into: less memory",
    "train.epochs": "epochs",
    "train.steps_per_epoch": "steps an epoch, at most",
    "train.select_on": "held_out or test: where the best epoch is selected",
    "optim.lr": "learning rate",
    "model.dtype": "float32 or bfloat16: what to compute in",
    "model.remat": "none or blocks: less memory, a third more time",
    "seed": "seed of initialisation, order, dropout and augmentation",
    "data.seed": "seed of held-out subjects and samples",
}
"""The keys that --help shows."""

_METAVARS = {
    "config": "NAME|FILE[:KEY=VALUE,...]",
    "workdir": "DIR",
    "coordinator": "HOST:PORT",
    "compile_for": "TARGET",
    "profile": "FIRST:LAST",
}


def normalize(arguments: Sequence[str]) -> list[str]:
    """Spell flags with `_` as absl knows them, expand `~`, and replace the name of a configuration by its file.

    Flags that `--flagfile` names are put in its place first.

    Args:
      arguments: The command line, without the program.

    Returns:
      The command line for absl.

    Raises:
      ConfigError: for a configuration, a file of flags or a user that does not exist.
    """
    try:
        words = [command_line.expanded(word) for word in flags.FLAGS.read_flags_from_files(list(arguments), False)]
    except (ValueError, flags.Error, OSError) as error:
        raise ConfigError(str(error)) from error
    end = words.index("--") if "--" in words else len(words)
    for k, word in enumerate(words[:end]):
        name, equals, value = word.partition("=")
        if re.match("--?[A-Za-z]", name):
            words[k] = "-" * (len(name) - len(name.lstrip("-"))) + name.lstrip("-").replace("-", "_") + equals + value
    for k, file in config_values(words):
        name, colon, rest = file.partition(":")
        checked = without_several(rest)
        defaults.check_config(name, checked if checked or (colon and not rest) else None)
        words[k] = words[k].removesuffix(file) + str(defaults.find_config_file(name)) + colon + rest
    return words


def names_several(item: str) -> bool:
    """Return whether an argument of a configuration, such as `fold=all` or `seeds=3`, names several runs."""
    key, _, value = item.partition("=")
    return key == "seeds" or (key in ("fold", "seed") and not value.isdecimal())


def without_several(text: str) -> str:
    """Return a configuration's arguments without those that name several runs."""
    return ",".join(item for item in text.split(",") if not names_several(item))


def config_values(words: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the value of every --config, with the index of the word that ends with it."""
    for k, word in enumerate(words):
        if match := re.fullmatch("--?config(=(.*))?", word, re.DOTALL):
            if match[1]:
                yield k, match[2]
            elif k + 1 < len(words):
                yield k + 1, words[k + 1]


def without(arguments: Sequence[str], names: Sequence[str]) -> str:
    """Return a command line for a shell, without these flags and their values.

    Args:
      arguments: The command line, without the program.
      names: Flags without their dashes, which all take a value.
    """
    words, rest = [], iter(arguments)
    for word in rest:
        name, equals, _ = word.lstrip("-").partition("=")
        if word.startswith("-") and name in names:
            if not equals:
                next(rest, None)
            continue
        words.append(shlex.quote(word))
    return " ".join(words)


def parser(doc: str, names: Sequence[str]) -> argparse.ArgumentParser:
    """Build a parser for what needs no absl: --help, --version and usage errors.

    Args:
      doc: The docstring of the command.
      names: The flags that the help lists, as absl has them.
    """
    parser = command_line.Parser(doc, command_line.program("train"))
    for name in names:
        flag, metavar = flags.FLAGS[name], _METAVARS.get(name, "N")
        value: dict[str, Any] = {"action": "store_true"} if flag.boolean else {"metavar": metavar}
        parser.add_argument(f"--{name}", help=flag.help, **value)
    parser.usage = f"{parser.prog} --config {_METAVARS['config']} [--workdir DIR] [--config.KEY=VALUE ...] [option ...]"
    return parser


def has_flag(arguments: Sequence[str], flags: Sequence[str]) -> bool:
    """Return whether any of these flags, such as --help, is among the arguments."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return any(flag in words for flag in flags)


def help_text(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> str:
    """Return the help: flags, the configurations with a name, and the keys that are changed most.

    Args:
      parser: The command's parser.
      arguments: The command line; if it names a configuration, the help is about its values and arguments.
    """
    lines = [parser.format_help(), "configurations with a name, beside files of your own:"]
    files = defaults.config_files()
    for name, file in files.items():
        summary = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        lines.append(f"  {name:<12}{summary}")
    values, title = defaults.get_config(), "keys that are changed most, with the published values"
    for _, words in config_values(arguments):
        try:
            module = defaults.load_config_file(words.partition(":")[0])
            values = module.get_config(*map(without_several, words.split(":", 1)[1:]))
        except (ConfigError, ValueError, TypeError):
            continue
        lines += ["", f"--config {words}:", *f"  {(module.__doc__ or '').strip()}".splitlines()]
        title = "keys that are changed most, with its values"
    known = dict(_flatten(values.to_dict()))
    lines += ["", f"{title}:"]
    lines += [f"  {f'--config.{key}={known[key]}':<36}{meaning}" for key, meaning in MOST_USED.items() if key in known]
    return "\n".join([*lines, "", f"All keys, with what they mean: {defaults.__file__}", ""])


def check_overrides(argv: Sequence[str], config: Config) -> None:
    """Refuse `--config.KEY` for a key that the configuration lacks, or that is a section of it, with the right one.

    absl would show a traceback, or objects, of ml_collections' insides.

    Raises:
      ConfigError: for the first such key.
    """
    known = [key for key, _ in _flatten(config.to_dict())]
    for argument in argv:
        name = argument.split("=", 1)[0].lstrip("-")
        key = name.removeprefix("config.")
        within = [other for other in known if other.startswith(f"{key}.")]
        if name.startswith("config.") and within:
            raise ConfigError(f"--config.{key}: is a section; its keys are {', '.join(within)}")
        if name.startswith("config.") and key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise ConfigError(f"--config.{key}: there is no such key; did you mean --config.{near[0]}?")


def without_traceback(error: Exception) -> ConfigError:
    """Convert absl's error about a flag, without the traceback that it quotes where a configuration file raised."""
    text = str(error)
    last = text.rstrip().rsplit("\n", 1)[-1].strip()
    return ConfigError(last.removeprefix("ValueError: ") if "Traceback" in text else text)


def exit_with(error: object, status: int = 2) -> NoReturn:
    """End the program with a message alone on standard error; by default as a usage error."""
    raise SystemExit(command_line.fail(COMMAND, error, status))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
