// Pixels: reading images without a change of colour, alignment by three points, and shrinking as Pillow's LANCZOS does.

const OVERSAMPLING = 4; // the face is resampled to so many times the network's side, and then shrunk

export function canvas(width, height) {
  const created = document.createElement("canvas");
  [created.width, created.height] = [width, height];
  return created;
}

export function context(target) {
  return target.getContext("2d", { colorSpace: "srgb", willReadFrequently: true });
}

// The file's own pixels: no colour management, no blending.
export function read(file) {
  return createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

// Red, green and blue of a canvas, a byte each.
export function rgb(source) {
  const { data } = context(source).getImageData(0, 0, source.width, source.height);
  const pixels = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    pixels[to++] = data[from];
    pixels[to++] = data[from + 1];
    pixels[to++] = data[from + 2];
  }
  return pixels;
}

// The square of a face as FFHQ's recipe has it, from the centres of both eyes and of the mouth: its centre, and half of
// its upper edge as a vector.
export function square([left, right, mouth]) {
  const eyes = { x: (left.x + right.x) / 2, y: (left.y + right.y) / 2 };
  const across = { x: right.x - left.x, y: right.y - left.y };
  const down = { x: mouth.x - eyes.x, y: mouth.y - eyes.y };
  const axis = { x: across.x + down.y, y: across.y - down.x };
  const length = Math.hypot(axis.x, axis.y) || 1;
  const half = Math.max(2 * Math.hypot(across.x, across.y), 1.8 * Math.hypot(down.x, down.y), 8);
  const centre = { x: eyes.x + 0.1 * down.x, y: eyes.y + 0.1 * down.y };
  return { centre, edge: { x: (axis.x / length) * half, y: (axis.y / length) * half } };
}

// Where the three points are at first: a face in the middle of an image, its square `share` of the shorter side.
export function middle(width, height, share = 0.8) {
  const side = share * Math.min(width, height);
  const at = (x, y) => ({ x: width / 2 + (x - 0.5) * side, y: height / 2 + (y - 0.5) * side });
  return [at(0.375, 0.4725), at(0.625, 0.4725), at(0.5, 0.7475)];
}

// RGB bytes of the face in a square of an image, side x side.
export function aligned(image, { centre, edge }, side) {
  const large = canvas(OVERSAMPLING * side, OVERSAMPLING * side);
  const drawing = context(large);
  drawing.fillStyle = "#808080"; // outside of the image
  drawing.fillRect(0, 0, large.width, large.height);
  const norm = (large.width / 2) / (edge.x * edge.x + edge.y * edge.y);
  const [a, b] = [edge.x * norm, edge.y * norm];
  drawing.setTransform(a, -b, b, a, large.width / 2 - a * centre.x - b * centre.y, large.width / 2 + b * centre.x - a * centre.y);
  drawing.imageSmoothingQuality = "high";
  drawing.drawImage(image, 0, 0);
  return shrunk(rgb(large), large.width, large.height, side);
}

// RGB bytes of a whole image, resized to side x side; the same bytes where it has this size.
export function whole(image, side) {
  const full = canvas(image.width, image.height);
  context(full).drawImage(image, 0, 0);
  return shrunk(rgb(full), full.width, full.height, side);
}

function shrunk(pixels, width, height, side) {
  if (width === side && height === side) return pixels;
  const rows = lanczos(pixels, width, height, side);
  return transposed(lanczos(transposed(rows, side, height), height, side, side), side, side);
}

function transposed(pixels, width, height) {
  const result = new Uint8Array(pixels.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [from, to] = [3 * (y * width + x), 3 * (x * height + y)];
      for (let c = 0; c < 3; c++) result[to + c] = pixels[from + c];
    }
  }
  return result;
}

// Resize every row from `width` to `size` pixels.
function lanczos(pixels, width, height, size) {
  const result = new Uint8Array(3 * size * height);
  const scale = width / size;
  const stretch = Math.max(scale, 1);
  for (let x = 0; x < size; x++) {
    const centre = (x + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - 3 * stretch + 0.5));
    const last = Math.min(width, Math.floor(centre + 3 * stretch + 0.5));
    const weights = Array.from({ length: last - first }, (_, k) => kernel((first + k - centre + 0.5) / stretch));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let y = 0; y < height; y++) {
      const row = 3 * (y * width + first);
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * pixels[row + 3 * k + c];
        result[3 * (y * size + x) + c] = Math.min(255, Math.max(0, Math.floor(sum / total + 0.5)));
      }
    }
  }
  return result;
}

function kernel(x) {
  if (x === 0) return 1;
  if (Math.abs(x) >= 3) return 0;
  const t = Math.PI * x;
  return (3 * Math.sin(t) * Math.sin(t / 3)) / (t * t);
}
