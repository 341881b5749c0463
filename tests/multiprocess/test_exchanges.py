"""What devices send each other: gradients and statistics, and with split parameters kernels, but never activations."""

import json
import subprocess
import sys

import pytest

from tests.end_to_end.command import ROOT
from tests.multiprocess import exchanges

pytestmark = pytest.mark.slow  # compiles for eight devices


@pytest.fixture(scope="module")
def programs(train):
    """Describe the programs for eight devices."""
    words = [sys.executable, "-m", "tests.multiprocess.exchanges"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=train.environment(8), check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_exchanges_are_counted():
    """Each once: started and waited for, or at once; not where another operation names one."""
    text = """
      %a = (f32[2], f32[4]) all-gather-start(%x), channel_id=1
      %b = f32[4] all-gather-done(%a)
      %c = f32[4] all-reduce(%b), to_apply=%add
      %d = f32[4] add(%all-gather.1, %c)
    """
    assert exchanges.count(text) == {"all-gather": 1, "all-reduce": 1}


@pytest.mark.parametrize("program", ["whole", "gpu", "tpu"])
def test_whole_parameters_need_sums_alone(programs, program):
    """Of gradients and of BatchNorm's statistics, by the paths of each platform."""
    assert set(programs[program]["exchanges"]) == {"all-reduce"}


def test_split_kernels_go_to_the_images(programs):
    """Each is gathered twice at most, each gradient is summed as it is split, and no activation changes devices."""
    counts, kernels = programs["split"]["exchanges"], programs["kernels"]
    assert set(counts) == {"all-gather", "all-reduce", "reduce-scatter"}
    assert kernels / 2 < counts["all-gather"] <= 2 * kernels
    assert kernels / 2 < counts["reduce-scatter"] <= kernels
    assert counts["all-reduce"] <= programs["whole"]["exchanges"]["all-reduce"]


def test_evaluation_gathers_each_kernel_once(programs):
    """And its four results, which every process gets."""
    counts = programs["evaluation"]["exchanges"]
    assert set(counts) == {"all-gather"}
    assert programs["kernels"] / 2 < counts["all-gather"] <= programs["kernels"] + 4


def test_a_device_holds_its_share_alone(programs):
    """An eighth of most kernels and of their optimiser's state, with the small arrays that every device has."""
    assert programs["split"]["arguments"] < programs["whole"]["arguments"] / 4
