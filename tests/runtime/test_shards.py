"""Parts of a command's work: their two numbers, and which items are in which part."""

import argparse

import pytest

from fgnet_jax.runtime import shards
from fgnet_jax.runtime.shards import Shard


def test_a_shard_is_two_numbers():
    """As a Slurm array has them; files are named by both."""
    shard = shards.parse("2/8")
    assert shard == Shard(number=2, count=8) and str(shard) == "2/8" and shard.name == "shard-2-of-8"
    assert shards.of_name("out.shard-2-of-8.csv") == shard and shards.of_name("out.csv") is None


@pytest.mark.parametrize("text", ["0/8", "9/8", "0/0"])
def test_parts_are_counted_from_one(text):
    """An array that begins at 0 is told which one to use."""
    with pytest.raises(argparse.ArgumentTypeError, match="counted from 1: .*--array=1-"):
        shards.parse(text)


@pytest.mark.parametrize("text", ["", "3", "a/b", "1/8/2", "-1/8", "1 / 8"])
def test_other_texts_are_refused(text):
    """With what is expected."""
    with pytest.raises(argparse.ArgumentTypeError, match="the I-th of N parts, such as 1/8"):
        shards.parse(text)


def test_balanced_parts_have_about_as_much_work():
    """The heaviest items first; every item is in one part."""
    weights = [4845] * 27
    numbers = shards.balanced(weights, 8)
    assert sorted(numbers.count(k) for k in range(1, 9)) == [3, 3, 3, 3, 3, 4, 4, 4]
    assert shards.balanced([10, 1, 1, 1], 2) == [1, 2, 2, 2]
    assert shards.balanced([], 3) == []


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_consecutive_parts_are_the_whole_in_order(count):
    """Also where there are more parts than items: some have none."""
    weights = [1, 1, 1, 100, 1, 1, 50, 1]
    parts = [shards.consecutive(weights, Shard(number=k, count=count)) for k in range(1, count + 1)]
    assert [item for part in parts for item in part] == list(range(8))
    if count == 2:
        assert [list(part) for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7]]
