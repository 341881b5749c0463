// Drawing: the face with its heatmaps as tints, the stage with the three points, and the bars.

import { canvas, context } from "./pixels.js";

// As in fgnet_jax/visualization/painting.py.
export const COLOURS = {
  1: [255, 77, 77],
  2: [255, 160, 0],
  4: [255, 225, 77],
  6: [105, 210, 60],
  7: [0, 184, 148],
  9: [200, 150, 255],
  10: [141, 92, 255],
  12: [46, 168, 255],
  14: [255, 110, 200],
  15: [190, 255, 26],
  17: [255, 138, 101],
  23: [0, 229, 255],
  24: [255, 40, 150],
  25: [154, 255, 214],
  26: [217, 160, 102],
};

const OTHER = [46, 168, 255];
const TINT = 0.6; // opacity of a heatmap's peak

export function colour(au) {
  return COLOURS[au] ?? OTHER;
}

// Draw RGB bytes of a face, side x side, with the heatmaps of some AUs, by their places, over it.
export function face(target, pixels, side, heatmaps, size, aus, shown) {
  const drawing = context(target);
  const small = canvas(side, side);
  const bytes = context(small).createImageData(side, side);
  for (let k = 0; k < side * side; k++) {
    for (let c = 0; c < 3; c++) bytes.data[4 * k + c] = pixels[3 * k + c];
    bytes.data[4 * k + 3] = 255;
  }
  context(small).putImageData(bytes, 0, 0);
  drawing.imageSmoothingQuality = "high";
  drawing.drawImage(small, 0, 0, target.width, target.height);
  if (shown.length) tint(target, heatmaps, size, aus, shown);
}

function tint(target, heatmaps, size, aus, shown) {
  const drawing = context(target);
  const image = drawing.getImageData(0, 0, target.width, target.height);
  const columns = places(target.width, size);
  const rows = places(target.height, size);
  for (let y = 0; y < target.height; y++) {
    for (let x = 0; x < target.width; x++) {
      const mixed = [0, 0, 0];
      let [shares, strongest] = [1e-9, 0];
      for (const k of shown) {
        const strength = Math.max(0, sampled(heatmaps, size, aus.length, k, rows[y], columns[x]));
        const share = strength ** 3; // the cube lets the stronger map's colour win over a grey mixture
        const rgb = colour(aus[k]);
        for (let c = 0; c < 3; c++) mixed[c] += share * rgb[c];
        shares += share;
        strongest = Math.max(strongest, strength);
      }
      const opacity = TINT * strongest * strongest;
      const at = 4 * (y * target.width + x);
      for (let c = 0; c < 3; c++) image.data[at + c] = image.data[at + c] * (1 - opacity) + (mixed[c] / shares) * opacity;
    }
  }
  drawing.putImageData(image, 0, 0);
}

// Where pixels of the drawing lie between samples of a heatmap.
function places(length, size) {
  return Array.from({ length }, (_, k) => {
    const place = Math.min(size - 1, Math.max(0, ((k + 0.5) * size) / length - 0.5));
    const first = Math.min(size - 2, Math.floor(place));
    return { first, rest: place - first };
  });
}

function sampled(heatmaps, size, count, k, row, column) {
  const at = (y, x) => heatmaps[((row.first + y) * size + column.first + x) * count + k];
  const upper = at(0, 0) * (1 - column.rest) + at(0, 1) * column.rest;
  const lower = at(1, 0) * (1 - column.rest) + at(1, 1) * column.rest;
  return upper * (1 - row.rest) + lower * row.rest;
}

// Draw an image, or the camera as in a mirror, and on it the square of the face and the three points.
export function stage(target, image, points, square, mirrored) {
  const drawing = context(target);
  drawing.setTransform(mirrored ? -1 : 1, 0, 0, 1, mirrored ? target.width : 0, 0);
  drawing.drawImage(image, 0, 0, target.width, target.height);
  if (points) guides(drawing, points, square, target.width / 320);
  drawing.setTransform(1, 0, 0, 1, 0, 0);
}

function guides(drawing, points, { centre, edge }, unit) {
  drawing.lineWidth = 1.5 * unit;
  drawing.strokeStyle = "#ffffffcc";
  drawing.beginPath();
  for (const [u, v] of [[-1, -1], [1, -1], [1, 1], [-1, 1]]) {
    drawing.lineTo(centre.x + u * edge.x - v * edge.y, centre.y + u * edge.y + v * edge.x);
  }
  drawing.closePath();
  drawing.stroke();
  drawing.setLineDash([4 * unit, 4 * unit]);
  drawing.beginPath();
  const half = Math.hypot(edge.x, edge.y);
  drawing.ellipse(centre.x, centre.y, 0.52 * half, 0.72 * half, Math.atan2(edge.y, edge.x), 0, 2 * Math.PI);
  drawing.stroke();
  drawing.setLineDash([]);
  for (const point of points) {
    drawing.beginPath();
    drawing.arc(point.x, point.y, 5 * unit, 0, 2 * Math.PI);
    drawing.fillStyle = "#2ea8ff66";
    drawing.fill();
    drawing.strokeStyle = "#ffffff";
    drawing.stroke();
  }
}

// Create a bar for each AU; `chosen` is called with its place.
export function createBars(parent, aus, names, chosen) {
  parent.replaceChildren(...aus.map((au, k) => bar(au, names[k], () => chosen(k))));
}

function bar(au, name, chosen) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.au = au;
  const title = document.createElement("span");
  const swatch = document.createElement("i");
  swatch.className = "swatch";
  swatch.style.background = css(au);
  title.append(swatch, `AU${au} ${name}`);
  const [score, track] = [document.createElement("span"), document.createElement("span")];
  [score.className, track.className] = ["score", "track"];
  track.append(document.createElement("span"));
  button.append(title, score, track);
  button.addEventListener("click", chosen);
  return button;
}

function css(au) {
  return `rgb(${colour(au).join(" ")})`;
}

export function updateBars(parent, aus, scores, chosen) {
  aus.forEach((au, k) => {
    const button = parent.children[k];
    const score = scores[k];
    button.dataset.score = score;
    button.firstChild.classList.toggle("on", score > 0);
    button.title = score > 0 ? "present" : "absent";
    button.setAttribute("aria-pressed", String(k === chosen));
    button.querySelector(".score").textContent = `${score > 0 ? "+" : ""}${score.toFixed(3)}`;
    const fill = button.querySelector(".track span");
    fill.style.left = `${50 + 50 * Math.min(score, 0)}%`;
    fill.style.width = `${50 * Math.abs(score)}%`;
    fill.style.background = score > 0 ? css(au) : "var(--muted)";
  });
}
