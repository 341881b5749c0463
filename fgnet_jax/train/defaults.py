"""The keys of a training configuration with FG-Net's published values, and where configurations are found.

An experiment is a file with a function `get_config`, which starts from `get_config` here and changes values only: those
that are installed with the package are found by name (`--config demo`), others by their path.
"""

import difflib
import importlib.util
import inspect
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from ml_collections import ConfigDict, FieldReference

Config: TypeAlias = Any
"""An `ml_collections.ConfigDict` with the keys of `get_config`, whose types a type checker cannot know."""

_OF_STUDENTS = ("student",)  # configurations with a name that are `distill`'s


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the key and what was expected."""


def get_config() -> Config:
    """Return a new configuration with every key there is, at the published value where the paper has one."""
    config: Config = ConfigDict()
    config.name = "base"  # names the default workdir, runs/NAME
    config.seed = 0  # of initialisation, order, dropout and augmentation; what the data are has its own, data.seed
    config.init_from = ""  # a weights directory (`python -m convert_weights`); empty: from scratch
    config.init_fold = -1  # the fold that these weights left out, where they do not record it; -1: not known

    config.data = ConfigDict()
    config.data.corpus = "disfa"
    config.data.dir = "data"
    config.data.fold = 0  # tested on; the others are trained on
    config.data.seed = 0  # of held-out subjects, of the permutation of `samples`, and of rendered faces
    # What target heatmaps show: "presence", or "intensity", higher the higher an AU's intensity, 0 to 5
    config.data.target = "presence"
    config.data.samples = 0  # train on the first n of a seeded permutation; 0: on all
    config.data.held_out = 0.15  # share of training subjects that the best epoch is selected on
    config.data.also_train = ()  # further corpora, trained together with it on the union of their AUs
    config.data.also_test = ()  # further corpora, scored at the end on the AUs that both have
    config.data.frames = 4000  # of a synthetic corpus, which is rendered where it is missing
    config.data.threads = 4  # that decode images
    config.data.sampler = "shuffled"  # or "balanced": each AU's positive faces as often as any other's

    config.model = ConfigDict()
    config.model.image_size = 256
    config.model.encoder_channels = (64, 128, 256, 512)
    config.model.encoder_units = (3, 4, 14, 3)
    config.model.style_dim = 512
    config.model.mapping_layers = 8
    config.model.generator_channels = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    config.model.heatmap_size = 128
    config.model.num_heatmaps = 32
    config.model.interpreter = "pyramid"  # or "pixel": DatasetGAN's, as a baseline
    config.model.dropout = 0.1
    config.model.map_codes = True
    config.model.dtype = "float32"  # or "bfloat16", to compute in
    config.model.param_dtype = "float32"
    # "high" and "default": products in TF32 on GPUs, in bfloat16 on TPUs, several times as fast and less exact
    config.model.precision = "highest"
    config.model.remat = "none"  # or "blocks": less memory, a third more time

    # Where AUs lie that have no published centres, or that should lie elsewhere. Rows of: the AU; the landmarks whose
    # mean is one centre; the other's; how far both are moved down, in inter-ocular distances.
    config.centres = ()

    # Against imbalance; formulas and sources are in losses.py. Off by default, as published.
    config.loss = ConfigDict()
    # Of faces on which an AU is present: "none"; "inverse_frequency", absent over present training faces; or rows of
    # (AU, weight), which leave the AUs that they do not name at 1.
    config.loss.positive_weight = FieldReference("none", field_type=object)
    config.loss.focal = 0.0  # exponent of a factor that lets what is predicted well count less; 0: none

    config.optim = ConfigDict()
    config.optim.name = "adamw"  # or another optimiser of optax: lion, adan, sgd, …
    config.optim.options = ()  # its further arguments, rows of (name, value): (("b1", 0.95), ("nesterov", True))
    config.optim.lr = 5e-5
    config.optim.lr_encoder = -1.0  # negative: lr; 0: frozen
    config.optim.lr_generator = -1.0
    config.optim.lr_interpreter = -1.0
    config.optim.weight_decay = 5e-4
    config.optim.clip = 0.1
    config.optim.warmup_steps = 0
    config.optim.schedule = "constant"  # or "cosine"
    config.optim.layer_decay = 1.0  # factor on the rate from one layer to the one before it, such as 0.95
    config.optim.frozen = ()  # modules that are not trained: ("generator/mapping", "encoder/body/0")

    config.train = ConfigDict()
    config.train.batch_size = 16  # over all devices
    config.train.epochs = 15
    config.train.steps_per_epoch = 500  # at most; fewer where the training set has fewer batches
    config.train.equal_updates = False  # True: always steps_per_epoch, repeating few faces within an epoch
    config.train.accumulate = 1  # parts that a batch is split into, one after the other
    config.train.flip = False
    config.train.colour = 0.0  # strength of brightness, contrast and saturation changes
    config.train.select_on = "held_out"  # or "test", the published habit
    config.train.select_metric = "f1"  # or "auc", "average_precision", "balanced_accuracy": means over AUs
    config.train.keep_best = 1  # evaluations whose weights are kept: best/, best_2/, …
    config.train.evaluate_steps = 0  # steps between evaluations on the selection set; 0: at epochs' ends
    config.train.patience = 0  # stop after this many evaluations without a better one; 0: never
    config.train.ema = 0.0  # decay of averages of the weights, which are evaluated and kept, such as 0.999; 0: none
    config.train.eval_batch_size = 16
    config.train.eval_frames = 0  # of the selection set, evenly spaced; 0: all
    config.train.checkpoint_steps = 500  # beside one an epoch
    config.train.loggers = ("tensorboard",)  # beside metrics.jsonl; also "csv" and "wandb"
    config.train.shard_params = False  # split parameters over devices too

    return config


def arguments(text: str | None, **defaults: Any) -> dict[str, Any]:  # noqa: ANN401 - str, int, float, as a file needs
    """Parse the arguments after the colon of `--config NAME:key=value,key=value`, each by the type of its default.

    Args:
      text: The arguments; None or empty for the defaults.
      **defaults: The keys that a configuration takes, with their default values.

    Raises:
      ValueError: for a key that is not among the defaults, or a value that is not of its type.
    """
    values, given = dict(defaults), set()
    for item in filter(None, (text or "").split(",")):
        key, equals, value = item.partition("=")
        if not equals or key not in defaults:
            raise ValueError(f"--config …:{item}: expected key=value with a key of {', '.join(defaults)}")
        if key in given:
            several = f", such as {key}=0+2" if key in ("fold", "seed") else ""
            raise ValueError(f"--config …:{item}: {key} is given twice: expected one{several}")
        given.add(key)
        try:
            values[key] = type(defaults[key])(value)
        except ValueError as error:
            message = f"--config …:{item}: {key} must be of type {type(defaults[key]).__name__}"
            raise ValueError(message + "; of several runs, one each" * (key in ("fold", "seed"))) from error
    return values


def published(corpus: str, text: str | None) -> Config:
    """Return the configuration of the published protocol on a corpus.

    Args:
      corpus: The corpus' name.
      text: Arguments fold, seed, samples, select_on and updates ("published" or "equal"), as `arguments` takes them.
    """
    values = arguments(text, fold=0, seed=0, samples=0, select_on="held_out", updates="published")
    config = get_config()
    choose(config, corpus, values)
    config.name += "_select_on_test" if values["select_on"] == "test" else ""
    config.init_from = "weights/pretrained"
    config.train.select_on = values["select_on"]
    return config


def choose(config: Config, corpus: str, values: dict[str, Any]) -> None:
    """Set what a run of a protocol is trained on, and the run's name after it.

    Args:
      config: The configuration to change.
      corpus: The corpus' name.
      values: By name: fold, seed, samples (the first n of a permutation; 0: all) and updates ("published" or "equal").

    Raises:
      ValueError: for another way of counting updates.
    """
    if values["updates"] not in ("published", "equal"):
        raise ValueError(f"--config …:updates={values['updates']}: expected published or equal")
    config.name = run_name(f"{corpus}_f{values['fold']}", values["seed"])
    config.name += f"_n{values['samples']}" if values["samples"] else ""
    config.name += "_equal" if values["updates"] == "equal" else ""
    config.data.corpus = corpus
    config.data.fold = values["fold"]
    config.seed = values["seed"]
    config.data.samples = values["samples"]
    config.train.equal_updates = values["updates"] == "equal"


def run_name(name: str, seed: int) -> str:
    """Return the name of a run with its seed: of seed 0 without, as of the time when there was one alone."""
    return f"{name}_s{seed}" if seed else name


def config_files(of_students: bool = False) -> dict[str, Path]:
    """Return the configurations that have a name, with their files: the package's, in a checkout those beside it.

    Args:
      of_students: Whether those of `fgnet-jax distill` are meant, instead of those of `fgnet-jax train`.
    """
    for folder in (Path(__file__).with_name("configs"), Path(__file__).parents[2] / "configs"):
        files = {file.stem: file for file in sorted(folder.glob("*.py")) if file.stem.isidentifier()}
        files.pop("__init__", None)
        if files:
            return {name: file for name, file in files.items() if (name in _OF_STUDENTS) == of_students}
    return {}


def find_config_file(name: str) -> Path:
    """Find a configuration by its name, such as `demo`, or a file by its path.

    Args:
      name: The value of `--config`, without arguments.

    Raises:
      ConfigError: for a file that does not exist, with the nearest name there is.
    """
    named = config_files() | config_files(of_students=True)
    path = named.get(name, Path(name))
    if path.is_file():
        return path
    near = difflib.get_close_matches(Path(name).stem, named, n=1)
    hint = f"; did you mean --config {near[0]}?" if near else f"; configurations with a name: {', '.join(named)}"
    raise ConfigError(f"--config {name}: there is no such file{hint}")


def load_config_file(name: str) -> ModuleType:
    """Load a configuration by its name, such as `demo`, or a file by its path; return the module with `get_config`.

    Raises:
      ConfigError: for a file that does not exist, raises an error, or has no function `get_config`.
    """
    path = find_config_file(name)
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--config {name}: expected a Python file, NAME.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the file raises
        raise _config_error(path, error) from error
    if not callable(getattr(module, "get_config", None)):
        raise ConfigError(f"{path}: expected a function get_config, which returns the configuration")
    return module


def check_config(name: str, text: str | None, *, of_student: bool = False) -> Config:
    """Load a configuration, and refuse in one line what cannot be loaded.

    Args:
      name: A configuration's name, or a file.
      text: Its arguments; None where none are given.
      of_student: Whether it has to be one of `fgnet-jax distill`; else one of `fgnet-jax train`.

    Raises:
      ConfigError: naming the file, and the line where it is the file's.
    """
    module = load_config_file(name)
    if text is not None and not inspect.signature(module.get_config).parameters:
        raise ConfigError(f"--config {name}:{text}: this configuration takes no arguments")
    try:
        config = module.get_config(*([] if text is None else [text]))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    except Exception as error:  # whatever the file raises
        raise _config_error(find_config_file(name), error) from error
    if isinstance(config, ConfigDict) and ("distill" in config) != of_student:
        whose, command = ("no student's", "train") if of_student else ("a student's", "distill")
        raise ConfigError(f"--config {name}: is {whose} configuration: `fgnet-jax {command}` takes it")
    return config


def _config_error(path: Path, error: Exception) -> ConfigError:
    """Convert an error of a configuration file to one line: the file, the line, and what is wrong."""
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "configs":
        hint = "; a configuration imports fgnet_jax.train.defaults, which was configs.base"
    else:
        hint = ""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    place = f"{path}, line {line}" if line else str(path)
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return ConfigError(f"{place}: {type(error).__name__}: {text}{hint}")
