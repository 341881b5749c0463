"""Command lines of studies: several configurations, folds and seeds, as the command lines of their single runs.

--config disfa:fold=all,seeds=3         --config disfa:fold=0,seed=0 … --config disfa:fold=2,seed=2
--config disfa:fold=0-2                 three folds
--config disfa:fold=0+2,seed=4-6        two folds, three seeds
--config disfa --config bp4d            two runs
"""

import re
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from fgnet_jax.train import command_line, defaults
from fgnet_jax.train.defaults import Config, ConfigError

ALL = "all"
"""The value of `fold` that means every fold of the corpus."""


def is_study(words: Sequence[str]) -> bool:
    """Return whether a command line names several runs, or names them as several: `fold=0-0`, `seeds=1`.

    Args:
      words: The command line without the program, as `command_line.normalize` returns it.
    """
    texts = [text for _, text in command_line.config_values(words)]
    items = [item for text in texts for item in text.partition(":")[2].split(",")]
    return len(texts) > 1 or any(map(command_line.names_several, items))


def single_runs(words: Sequence[str]) -> list[list[str]]:
    """Return the command line of every run that a command line names: by configuration, then seed, then fold.

    Args:
      words: The command line without the program, as `command_line.normalize` returns it.

    Raises:
      ConfigError: Folds or seeds cannot be read, or a configuration does not take them.
    """
    texts = [text for _, text in command_line.config_values(words)]
    rest = without_config(words)
    return [[f"--config={single}", *rest] for text in texts for single in expanded(text, rest)]


def without_config(words: Sequence[str]) -> list[str]:
    """Return a command line without its --config, overrides of its keys left in."""
    ends = [k for k, _ in command_line.config_values(words)]
    flags_alone = {k - 1 for k in ends if not words[k].startswith("-")}
    return [word for k, word in enumerate(words) if k not in flags_alone.union(ends)]


def expanded(config_text: str, overrides: Sequence[str] = ()) -> list[str]:
    """Return a configuration with arguments (`disfa:fold=all,seeds=2`) as those of single runs, by seed, then by fold.

    Args:
      config_text: The value of --config; the name may be that of a file.
      overrides: Further words of the command line, which may say where a corpus is.

    Raises:
      ConfigError: Folds or seeds cannot be read.
    """
    name, colon, text = config_text.partition(":")
    given = _items(text)
    _refuse_repeated(config_text, text)
    if not {"fold", "seed", "seeds"} & given.keys():
        return [config_text]
    if "seed" in given and "seeds" in given:
        raise ConfigError(f"--config {config_text}: seed or seeds, one or the other")
    rest = [f"{key}={value}" for key, value in given.items() if key not in ("fold", "seed", "seeds")]
    folds = _folds(name, given.get("fold"), rest, overrides)
    seeds = _seeds(config_text, given)
    chosen = [[*folds_item, *seeds_item] for seeds_item in seeds for folds_item in folds]
    return [f"{name}{colon}{','.join([*rest, *more])}" for more in chosen]


def _refuse_repeated(config_text: str, text: str) -> None:
    """Refuse folds or seeds that are given twice: the last one alone would count."""
    keys = [item.partition("=")[0] for item in text.split(",")]
    for key in ("fold", "seed", "seeds"):
        if keys.count(key) > 1:
            example = "seeds=3" if key == "seeds" else f"{key}=0+2"
            raise ConfigError(f"--config {config_text}: {key} is given twice: expected one, such as {example}")


def _items(text: str) -> dict[str, str]:
    """Return the arguments of a configuration by name."""
    parts = (item.partition("=") for item in text.split(",") if item)
    return {key: value for key, _, value in parts}


def _folds(name: str, value: str | None, rest: Sequence[str], overrides: Sequence[str]) -> list[list[str]]:
    """Return the arguments that choose each fold."""
    if value is None:
        return [[]]
    numbers = _all_folds(name, rest, overrides) if value == ALL else _numbers(f"{name}:fold={value}", value, ALL)
    return [[f"fold={number}"] for number in numbers]


def _all_folds(name: str, rest: Sequence[str], overrides: Sequence[str]) -> Sequence[int]:
    """Return every fold of a configuration's corpus."""
    from fgnet_jax.data import corpus  # imports TFDS, and the next JAX
    from fgnet_jax.train import config as config_lib

    config = parse_config([f"--config={name}" + (f":{','.join(rest)}" if rest else ""), *overrides])
    try:
        return corpus.corpus_folds(config.data.corpus, config_lib.with_home(config).data.dir)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f"--config {name}:fold=all: {error}") from error


def _seeds(config_text: str, given: dict[str, str]) -> list[list[str]]:
    """Return the arguments that choose each seed."""
    if "seeds" in given:
        if not given["seeds"].isdecimal() or int(given["seeds"]) < 1:
            raise ConfigError(f"--config {config_text}: seeds={given['seeds']}: expected their number, at least 1")
        return [[f"seed={seed}"] for seed in range(int(given["seeds"]))]
    if "seed" in given:
        return [[f"seed={seed}"] for seed in _numbers(f"{config_text}: seed={given['seed']}", given["seed"])]
    return [[]]


def _numbers(where: str, text: str, *further: str) -> list[int]:
    """Return the numbers that `2`, `0-2`, or `0+2` names."""
    numbers: list[int] = []
    for part in text.split("+"):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            others = "".join(f"{word} or " for word in further)
            raise ConfigError(f"--config {where}: expected {others}numbers, such as 0, 0-2, 0+2")
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return list(dict.fromkeys(numbers))


def parse_config(words: Sequence[str]) -> Config:
    """Load the configuration of a command line with its overrides, whatever was loaded before.

    Args:
      words: The command line of one run, without the program; other flags than --config are left alone.

    Raises:
      ConfigError: The configuration cannot be loaded, or a key or value is wrong.
    """
    [(_, config_text)] = command_line.config_values(words)
    name, colon, text = config_text.partition(":")
    defaults.check_config(name, text if colon else None)
    config = defaults.load_config_file(name).get_config(*([text] if colon else []))
    # ml_collections would read the file once more, and remembers the first one's tuples.
    values, argv = flags.FlagValues(), ["train", *without_config(words)]
    try:
        flag = config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        values(argv, known_only=True)
        return flag.value.copy_and_resolve_references()
    except (flags.Error, AttributeError, KeyError) as error:
        command_line.check_overrides(argv, config)
        raise command_line.without_traceback(error) from error


def check_chosen(words: Sequence[str], config: Config) -> None:
    """Refuse an override of what the arguments of a study's run have chosen: its name would say something else.

    Args:
      words: The command line of the run, as `single_runs` returns it.
      config: Its configuration.

    Raises:
      ConfigError: data.fold or seed was overridden.
    """
    items = _items(words[0].partition(":")[2])
    for argument, key, value in (("fold", "data.fold", config.data.fold), ("seed", "seed", config.seed)):
        if argument in items and items[argument] != str(value):
            raise ConfigError(f"--config.{key}={value} and {argument}={items[argument]}: give it once, as {argument}=…")
