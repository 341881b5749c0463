"""Values of untrusted files in messages: short, one line, and without the cost of what they hold."""

import numpy as np
import pytest

from convert_weights.records import Record
from convert_weights.untrusted import is_scalar_key, listed, same, shown

ENDLESS: list = []
for _ in range(100):
    ENDLESS = [ENDLESS, ENDLESS]


@pytest.mark.parametrize(
    "value, text",
    [
        ("encoder.body.0", "encoder.body.0"),
        ("", "''"),
        ("a\nb\x1b[2J\x07", "a\\nb\\x1b[2J\\x07"),
        ("\u202eé\ud800", "\\u202e\\xe9\\ud800"),
        ("x" * 10**7, "x" * 80 + "..."),
        ("\x1b" * 30, ("\\x1b" * 30)[:80] + "..."),
        (True, "True"),
        (None, "None"),
        (0.01, "0.01"),
        (-3, "-3"),
        (1 << 100_000, "an integer of 100,001 bits"),
        (ENDLESS, "a list"),
        ({"a": ENDLESS}, "a dict"),
        (b"abc", "a bytes"),
        (Record("x", (ENDLESS,)), "a Record"),
        (np.zeros(3), "a ndarray"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_shown(value, text):
    """Scalars are shown, escaped and cut; everything else is the name of its type."""
    assert shown(value) == text


def test_listed():
    """Long lists are cut and counted."""
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"n{k}" for k in range(300_000)], most=2) == "n0, n1, and 299,998 more"


def test_same():
    """Only scalars, and flat sequences where one is expected, are compared."""
    assert same("skip", "skip") and same([1, 3, 3, 1], [1, 3, 3, 1]) and same((1, 3), [1, 3]) and same(True, True)
    for value, expected in ((ENDLESS, "skip"), (ENDLESS, [1, 3]), ([ENDLESS, 3], [1, 3]), ([1], [1, 3]), ("", [])):
        assert not same(value, expected)
    assert not same(np.zeros(2), 0)


def test_keys():
    """Text, bytes, and integers of different hashes can be keys; nested values cannot."""
    assert all(map(is_scalar_key, ("a", b"a", 1, -1, 0.5, None, True, (1 << 60) - 1)))
    assert not any(map(is_scalar_key, (1 << 60, -(1 << 61), (), ENDLESS, frozenset())))
