"""Identity of a prepared corpus: its fingerprint, and how it was prepared.

Two preparations with different labels, landmarks, settings, detector or partition have different fingerprints, whatever
their folder is called; the same preparation has the same one on every machine.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

PREPARATION = "preparation"
"""Key of a dataset's metadata that says how it was prepared."""

_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class CorpusIdentity:
    """What a prepared corpus is.

    Attributes:
      name: The dataset's full name: `disfa/1.0.0`, `synthetic_bp4d/frames4000_seed0_…/1.0.0`.
      fingerprint: Twelve hexadecimal digits over everything below and the name.
      aus: AU numbers of the label columns, in order.
      preparation_json: How it was prepared (options, detector, and a digest of the source's labels, landmarks and
        media), as JSON with sorted keys; "{}" for a synthetic corpus, whose name says everything.
      faces_json: Number of faces by split, as JSON with sorted keys.
    """

    name: str
    fingerprint: str
    aus: tuple[int, ...]
    preparation_json: str = "{}"
    faces_json: str = "{}"

    @classmethod
    def of(
        cls, name: str, *, aus: Sequence[int], preparation: Mapping[str, Any], faces: Mapping[str, int]
    ) -> "CorpusIdentity":
        """Compute the identity of a prepared corpus from its metadata."""
        numbers = tuple(int(au) for au in aus)
        prepared, counts = (json.dumps(dict(values), sort_keys=True) for values in (preparation, faces))
        text = json.dumps([name, numbers, prepared, counts])
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
        return cls(name=name, fingerprint=digest, aus=numbers, preparation_json=prepared, faces_json=counts)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CorpusIdentity":
        """Create an identity from what `to_dict` returned, with the fingerprint that was recorded."""
        prepared, counts = (json.dumps(dict(values.get(key) or {}), sort_keys=True) for key in ("preparation", "faces"))
        return cls(
            name=values["name"],
            fingerprint=values["fingerprint"],
            aus=tuple(values.get("aus") or ()),
            preparation_json=prepared,
            faces_json=counts,
        )

    @property
    def preparation(self) -> dict[str, Any]:
        """How the corpus was prepared."""
        return json.loads(self.preparation_json)

    @property
    def recordings(self) -> str:
        """The corpus whose recordings these are: `disfa` for `disfa/left`, and for a second preparation by any name."""
        return self.preparation.get("recordings", self.name.split("/")[0])

    @property
    def faces(self) -> dict[str, int]:
        """Number of faces by split."""
        return json.loads(self.faces_json)

    def to_dict(self) -> dict[str, Any]:
        """Return the identity as results and workdirs record it."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "aus": list(self.aus),
            "preparation": self.preparation,
            "faces": self.faces,
        }

    def differences(self, recorded: Mapping[str, Any]) -> list[str]:
        """List what differs from a recorded identity (`to_dict`), a line each; empty if it is the same corpus."""
        if recorded.get("fingerprint") == self.fingerprint:
            return []
        now = self.to_dict()
        flat_old, flat_now = (_flat(values) for values in (recorded, now))
        keys = [key for key in sorted(flat_old | flat_now) if flat_old.get(key) != flat_now.get(key)]
        return [f"{key}: {flat_old.get(key)!r} then, {flat_now.get(key)!r} now" for key in keys]

    def describe(self) -> str:
        """Return a line for users: the fingerprint, and how the corpus was prepared."""
        settings = {key: value for key, value in self.preparation.items() if key not in ("source", "recipe")}
        text = ", ".join(f"{key} {_short(value)}" for key, value in settings.items()) or "as its name says"
        return f"{self.name}, fingerprint {self.fingerprint}: {text}"


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a recorded identity, those of the preparation as keys of their own."""
    flat = {key: value for key, value in values.items() if key != "preparation"}
    return flat | {f"preparation.{key}": value for key, value in (values.get("preparation") or {}).items()}


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text  # a SHA-256
