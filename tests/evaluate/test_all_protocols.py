"""All protocols by one command: the runs that are planned.

That they are trained, evaluated, resumed and summarised is tested in test_main.py.
"""

from pathlib import Path

import pytest

from fgnet_jax.evaluate import all_protocols
from fgnet_jax.train.config import ConfigError


def test_every_run_that_the_protocols_need_is_planned():
    """Plan three folds of each corpus, and few samples with fewer updates and with equal ones."""
    plan = all_protocols.make_plan("synthetic:frames=3600,steps=4", Path("out"), Path("data"))
    assert [config.name for config in plan.configs] == [
        *(f"synthetic_{corpus}_f{fold}" for corpus in ("bp4d", "disfa") for fold in range(3)),
        *("synthetic_bp4d_f0_n100", "synthetic_bp4d_f0_n100_equal", "synthetic_bp4d_f0_n1000"),
    ]
    assert plan.runs == Path("out/runs") and {config.data.dir for config in plan.configs} == {"data"}


def test_samples_that_a_corpus_does_not_have_are_left_out():
    """Plan no run on more samples than two folds have without the held-out subjects."""
    names = [c.name for c in all_protocols.make_plan("synthetic:frames=240", Path("out"), Path("data")).configs]
    assert names[6:] == ["synthetic_bp4d_f0_n100", "synthetic_bp4d_f0_n100_equal"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("absent.py", "--config absent.py: there is no such file"),
        ("synthetic:colour=1", "colour"),
        ("synthetic:steps=many", "steps"),
        ("tiny", "tiny"),
    ],
)
def test_configurations_of_other_arguments_are_refused(config, message):
    """Report the configuration or the argument."""
    with pytest.raises(ConfigError, match=message):
        all_protocols.make_plan(config, Path("out"), Path("data"))
