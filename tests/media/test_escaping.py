"""Names as text: valid UTF-8, all different, and each can be got back."""

import os

import numpy as np
import pytest

from fgnet_jax.media import escaping


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain name.png", "plain name.png"),
        ("ç/日本.png".encode(), "ç/日本.png"),
        (b"\xff.png", r"\xff.png"),
        (b"caf\xe9/\xc3\xa9.png", r"caf\xe9/é.png"),
        (rb"\xff.png", r"\x5cxff.png"),
        (rb"a\b.png", r"a\b.png"),
        (b"\\\xff", "\\\\xff"),
        (b"a\rb\nc\t.png", r"a\x0db\x0ac\x09.png"),
        (rb"\x0d.png", r"\x5cx0d.png"),
        (b"\x00\x7f\xff", r"\x00\x7f\xff"),
        ("\x85\u2028\u2029".encode(), r"\xc2\x85\xe2\x80\xa8\xe2\x80\xa9"),
    ],
)
def test_only_what_is_no_text_is_escaped(name, text):
    """And control characters, line ends, and what looks like it."""
    decoded = os.fsdecode(name)
    assert escaping.escaped(decoded) == text and escaping.unescaped(text) == decoded
    assert escaping.is_needed(decoded) == (decoded != text)


def test_every_name_comes_back():
    """Random names of the awkward bytes: all forms are UTF-8, and different."""
    random = np.random.default_rng(0)
    names = {
        os.fsdecode(bytes(random.choice(list(b"\\x5cf0d\r\xff\xc3\xa9"), random.integers(1, 9)))) for _ in range(3000)
    }
    texts = {escaping.escaped(name) for name in names}
    assert len(texts) == len(names) and all(text.encode() for text in texts)
    assert {escaping.unescaped(text) for text in texts} == names
