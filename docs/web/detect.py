"""Print AUs of aligned faces by ONNX Runtime, NumPy and Pillow alone: python detect.py student.onnx face.png ..."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

network, *paths = sys.argv[1:]
with open(f"{network}.json") as file:
    described = json.load(file)
print(f"AUs learnt from: {described['learnt_from']}", file=sys.stderr)
side = described["image_size"]
session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
for path in paths:
    image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    scores, heatmaps = session.run(["scores", "heatmaps"], {"images": np.asarray(image)[None]})
    for au, name, score in zip(described["aus"], described["names"], scores[0], strict=True):
        print(f"{path}\tAU{au:02d}\t{name}\t{score:+.3f}\t{'present' if score > 0 else 'absent'}")
