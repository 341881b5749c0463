"""A corpus of one's own, small: six subjects, AU 12, and AU 43, which is not among the fifteen."""

from pathlib import Path

import numpy as np
from PIL import Image

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.prepare import __main__ as prepare


def prepare_corpus(name: str, source: Path, data_dir: Path) -> None:
    """Write 24 rendered faces with landmarks and a table into the folder `source`, and prepare them as a corpus."""
    images, points, _ = random_faces("synthetic_bp4d", 24, seed=1)
    rows = ["image,subject,au12,au43"]
    for k, (image, landmarks) in enumerate(zip(images, points, strict=True)):
        Image.fromarray(image).save(source / f"{k}.png")
        np.save(source / f"{k}.npy", landmarks)
        rows.append(f"{k}.png,subject{k % 6},{k // 6 % 2},{k // 12}")
    (source / "table.csv").write_text("\n".join(rows))
    words = ["csv", "--source", str(source), "--name", name, "--landmarks", str(source), "--workers", "1"]
    assert prepare.main([*words, "--data_dir", str(data_dir)]) == 0
