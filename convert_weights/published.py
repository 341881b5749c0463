"""What is published, where, under which terms. Constants, and how they are spelt out; nothing here downloads."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file that its authors publish.

    Attributes:
      name: What it is called here; FG-Net's two files are both `model.pth` where they come from.
      title: What it is.
      link: Where a browser finds it.
      url: Where a program finds it.
      terms: What its authors ask of those who use it.
    """

    name: str
    title: str
    link: str
    url: str
    terms: str


_FINE_TUNED = (
    "code MIT; fine-tuned from pSp's encoder (trained on FFHQ, CC BY-NC-SA 4.0) and NVIDIA's StyleGAN2 "
    "(Source Code License-NC: not for commercial use), on a corpus licensed for research"
)


def _on_drive(name: str, title: str, number: str, terms: str) -> PublishedFile:
    link = f"https://drive.google.com/file/d/{number}"
    return PublishedFile(name, title, link, f"https://drive.google.com/uc?id={number}", terms)


ENCODER = _on_drive(
    "psp_ffhq_encode.pt",
    "pSp's encoder, as published",
    "1bMTNWkh5LArlaWSc_wa8VKyq2V42T2z0",
    "code MIT; trained on FFHQ, CC BY-NC-SA 4.0",
)

_ADA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/ffhq.pkl"

GENERATOR = PublishedFile(
    "ffhq.pkl",
    "NVIDIA's StyleGAN2 of FFHQ",
    _ADA,
    _ADA,
    "NVIDIA Source Code License-NC: not for commercial use; trained on FFHQ, CC BY-NC-SA 4.0",
)

MODELS: dict[str, PublishedFile] = {
    "bp4d": _on_drive(
        "fgnet_bp4d_model.pth", "FG-Net's model.pth, BP4D", "1mwOq1gceGTKvcxN0EJywY9VTuXvASgUZ", _FINE_TUNED
    ),
    "disfa": _on_drive(
        "fgnet_disfa_model.pth", "FG-Net's model.pth, DISFA", "1wTeqUNkhi-ONXXFJ4K6AozyOxyHTHog-", _FINE_TUNED
    ),
}
"""FG-Net as published, by corpus."""

WEIGHTS: dict[str, tuple[PublishedFile, ...]] = {
    **{corpus: (model, ENCODER) for corpus, model in MODELS.items()},
    "pretrained": (GENERATOR, ENCODER),
}
"""The files that each kind of weights is made of."""


def spell_terms(file: PublishedFile) -> str:
    """A file with its source and its terms, in lines for people."""
    return f"{file.title} ({file.name})\n  from:  {file.link}\n  terms: {file.terms}\n"
