"""FFHQ's alignment as its authors wrote it, step by step with Pillow and SciPy: the reference for ours."""

import numpy as np
import scipy.ndimage
from PIL import Image


def align(img: Image.Image, lm: np.ndarray, output_size: int = 256, transform_size: int = 1024) -> Image.Image:
    """Align a face by the published steps, in their order."""
    eye_left, eye_right = np.mean(lm[36:42], axis=0), np.mean(lm[42:48], axis=0)
    eye_avg, eye_to_eye = (eye_left + eye_right) * 0.5, eye_right - eye_left
    eye_to_mouth = (lm[48] + lm[54]) * 0.5 - eye_avg
    x = eye_to_eye - np.flipud(eye_to_mouth) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    y = np.flipud(x) * [-1, 1]
    c = eye_avg + eye_to_mouth * 0.1
    quad = np.stack([c - x - y, c - x + y, c + x + y, c + x - y])
    qsize = np.hypot(*x) * 2
    shrink = int(np.floor(qsize / output_size * 0.5))
    if shrink > 1:
        rsize = (int(np.rint(img.size[0] / shrink)), int(np.rint(img.size[1] / shrink)))
        img = img.resize(rsize, Image.Resampling.LANCZOS)
        quad /= shrink
        qsize /= shrink
    border = max(int(np.rint(qsize * 0.1)), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    crop = [*np.maximum(low - border, 0), *np.minimum(high + border, img.size)]
    if crop[2] - crop[0] < img.size[0] or crop[3] - crop[1] < img.size[1]:
        img = img.crop((int(crop[0]), int(crop[1]), int(crop[2]), int(crop[3])))
        quad -= crop[0:2]
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    pad = np.array([*np.maximum(-low + border, 0), *np.maximum(high - img.size + border, 0)])
    if max(pad) > border - 4:
        img, quad = _padded(img, quad, np.maximum(pad, int(np.rint(qsize * 0.3))), qsize)
    data = (quad + 0.5).flatten().tolist()
    img = img.transform((transform_size, transform_size), Image.Transform.QUAD, data, Image.Resampling.BILINEAR)
    return img.resize((output_size, output_size), Image.Resampling.LANCZOS)


def _padded(img: Image.Image, quad: np.ndarray, pad: np.ndarray, qsize: float) -> tuple[Image.Image, np.ndarray]:
    a = np.pad(np.asarray(img, np.float32), ((pad[1], pad[3]), (pad[0], pad[2]), (0, 0)), "reflect")
    h, w, _ = a.shape
    y, x, _ = np.ogrid[:h, :w, :1]
    mask = np.maximum(
        1.0 - np.minimum(np.float32(x) / pad[0], np.float32(w - 1 - x) / pad[2]),
        1.0 - np.minimum(np.float32(y) / pad[1], np.float32(h - 1 - y) / pad[3]),
    )
    blur = qsize * 0.02
    a += (scipy.ndimage.gaussian_filter(a, [blur, blur, 0]) - a) * np.clip(mask * 3.0 + 1.0, 0.0, 1.0)
    a += (np.median(a, axis=(0, 1)) - a) * np.clip(mask, 0.0, 1.0)
    return Image.fromarray(np.clip(np.rint(a), 0, 255).astype(np.uint8)), quad + pad[:2]
