"""The published files: their links and terms. Constants, and their text for users; nothing here downloads."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file that its authors publish.

    Attributes:
      name: Its local file name; FG-Net's two files are both published as `model.pth`.
      title: What it is.
      link: Its address for a browser.
      url: Its address for a program.
      terms: Licences and conditions of use.
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


def _on_drive(name: str, title: str, number: str, *, terms: str) -> PublishedFile:
    """Return a file that Google Drive has under this number."""
    link = f"https://drive.google.com/file/d/{number}"
    url = f"https://drive.google.com/uc?id={number}"
    return PublishedFile(name=name, title=title, link=link, url=url, terms=terms)


ENCODER = _on_drive(
    "psp_ffhq_encode.pt",
    "pSp's encoder, as published",
    "1bMTNWkh5LArlaWSc_wa8VKyq2V42T2z0",
    terms="code MIT; trained on FFHQ, CC BY-NC-SA 4.0",
)

_ADA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/ffhq.pkl"

GENERATOR = PublishedFile(
    name="ffhq.pkl",
    title="NVIDIA's StyleGAN2 of FFHQ",
    link=_ADA,
    url=_ADA,
    terms="NVIDIA Source Code License-NC: not for commercial use; trained on FFHQ, CC BY-NC-SA 4.0",
)

MODELS: dict[str, PublishedFile] = {
    "bp4d": _on_drive(
        "fgnet_bp4d_model.pth", "FG-Net's model.pth, BP4D", "1mwOq1gceGTKvcxN0EJywY9VTuXvASgUZ", terms=_FINE_TUNED
    ),
    "disfa": _on_drive(
        "fgnet_disfa_model.pth", "FG-Net's model.pth, DISFA", "1wTeqUNkhi-ONXXFJ4K6AozyOxyHTHog-", terms=_FINE_TUNED
    ),
}
"""FG-Net as published, by corpus."""

WEIGHTS: dict[str, tuple[PublishedFile, ...]] = {
    **{corpus: (model, ENCODER) for corpus, model in MODELS.items()},
    "pretrained": (GENERATOR, ENCODER),
}
"""The files that each kind of weights is converted from."""


def format_terms(file: PublishedFile) -> str:
    """Return a file's title, source and terms, in lines for the user."""
    return f"{file.title} ({file.name})\n  from:  {file.link}\n  terms: {file.terms}\n"
