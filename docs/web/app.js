// The page: an image or the camera in, scores and heatmaps out. One face at a time; what comes while it is computed waits,
// and of several such requests only the last is carried out.

import * as drawing from "./drawing.js";
import { load, Problem } from "./network.js";
import * as pixels from "./pixels.js";

const get = (id) => document.getElementById(id);
const [stage, face, bars] = [get("stage"), get("face"), get("bars")];
const video = document.createElement("video");
[video.muted, video.playsInline] = [true, true];

const POINTS_ONTO_FACE = "Drag the three points onto both eyes and the mouth: before, the scores are of no face.";
const FACE_INTO_OVAL = "Bring your face into the oval, eyes and mouth under the points, or drag these onto them.";
const RENDERED_ONLY = "rendered faces only"; // as fgnet_jax/models/lineage.py has it

let network = null;
let source = null; // the image or the video, and its size
let points = null; // left eye, right eye and mouth in it; null for an aligned face
let placed = false; // whether anyone has dragged them since
let result = null; // of the last face
let chosen = null; // the place of the AU whose heatmap is shown; null for all that are present
let [busy, waiting] = [false, false];

function say(text, isProblem = false) {
  get("status").textContent = text;
  get("status").classList.toggle("problem", isProblem);
}

function fail(error) {
  say(error instanceof Problem ? error.message : `This did not work: ${error.message ?? error}`, true);
  if (!(error instanceof Problem)) console.error(error);
}

// ---- from the source to the result

function show(image, width, height, mirrored) {
  source = { image, width, height, mirrored };
  const scale = Math.min(1, 1280 / Math.max(width, height));
  [stage.width, stage.height] = [Math.round(width * scale), Math.round(height * scale)];
}

function drawStage() {
  const scale = stage.width / source.width;
  const onStage = points?.map(({ x, y }) => ({ x: x * scale, y: y * scale }));
  drawing.stage(stage, source.image, onStage, onStage && pixels.square(onStage), source.mirrored);
  stage.classList.toggle("free", !points);
}

async function update() {
  if (!source || !network) return;
  drawStage();
  waiting = busy;
  if (busy) return;
  busy = true;
  try {
    const side = network.description.image_size;
    const rgb = points ? pixels.aligned(source.image, pixels.square(points), side) : pixels.whole(source.image, side);
    result = { rgb, ...(await network.detect(rgb)) };
    drawResult();
  } catch (error) {
    fail(error);
  } finally {
    busy = false;
  }
  if (waiting) await update();
}

function drawResult() {
  const { aus, image_size: side, heatmap_size: size } = network.description;
  const { rgb, scores, heatmaps, milliseconds } = result;
  const present = aus.map((_, k) => k).filter((k) => scores[k] > 0);
  drawing.face(face, rgb, side, heatmaps, size, aus, chosen === null ? present : [chosen]);
  drawing.updateBars(bars, aus, scores, chosen);
  const threads = network.threads === 1 ? "one thread" : `${network.threads} threads`;
  const pace = `${milliseconds.toFixed(1)} ms for this face, on ${threads}.`;
  const found = `${present.length} of ${aus.length} action units present. ${pace}`;
  say(!points || placed ? found : `${source.mirrored ? FACE_INTO_OVAL : POINTS_ONTO_FACE} ${pace}`);
  document.body.dataset.results = Number(document.body.dataset.results ?? 0) + 1;
}

// ---- what people do

async function open(file) {
  stopCamera();
  let image;
  try {
    image = await pixels.read(file);
  } catch {
    throw new Problem(`${file.name} is no image that this browser reads`);
  }
  show(image, image.width, image.height, false);
  get("aligned-row").hidden = false;
  get("aligned").checked = image.width === image.height;
  setAligned();
}

function setAligned() {
  points = get("aligned").checked ? null : pixels.middle(source.width, source.height);
  placed = false;
  update();
}

async function startCamera() {
  if (!navigator.mediaDevices) throw new Problem("Browsers give a camera to https and to localhost alone");
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: 640, height: 480 } });
  } catch (error) {
    throw new Problem(`There is no camera for this page: ${error.message}`);
  }
  await video.play();
  show(video, video.videoWidth, video.videoHeight, true);
  [video.width, video.height] = [video.videoWidth, video.videoHeight];
  points = pixels.middle(source.width, source.height);
  placed = false;
  get("aligned-row").hidden = true;
  get("camera").textContent = "Stop the camera";
  nextFrame();
}

function nextFrame() {
  if (!video.srcObject) return;
  video.requestVideoFrameCallback(async () => {
    if (!video.srcObject) return;
    await update(); // frames that come meanwhile are dropped
    nextFrame();
  });
}

function stopCamera() {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  get("camera").textContent = "Start the camera";
}

// ---- dragging

let dragged = null;

function at(event) {
  const box = stage.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * source.width;
  return { x: source.mirrored ? source.width - x : x, y: ((event.clientY - box.top) / box.height) * source.height };
}

function grab(event) {
  if (!points) return;
  const place = at(event);
  const away = points.map(({ x, y }) => Math.hypot(x - place.x, y - place.y));
  dragged = away.indexOf(Math.min(...away)); // the nearest: fingers are wide
  stage.setPointerCapture(event.pointerId);
  drag(event);
}

function drag(event) {
  if (dragged === null || !points) return;
  points[dragged] = at(event);
  placed = true;
  update();
}

// ---- start

function choose(k) {
  chosen = chosen === k ? null : k;
  if (result) drawResult();
}

async function start() {
  const name = new URLSearchParams(location.search).get("network") ?? "student.onnx";
  network = await load(name);
  const { aus, names, corpus, learnt_from: learntFrom } = network.description;
  const warning = learntFrom === RENDERED_ONLY ? ` It has learnt from ${RENDERED_ONLY}: scores of real faces mean nothing.` : "";
  get("about").textContent = `A student of FG-Net for ${aus.length} action units${corpus ? `, from ${corpus}` : ""}.${warning} Nothing leaves this device.`;
  drawing.createBars(bars, aus, names, choose);
  say("Open an aligned face or a photo, or start the camera.");
  document.body.dataset.ready = "yes";
  await update();
}

get("file").addEventListener("change", ({ target }) => {
  if (target.files.length) open(target.files[0]).catch(fail);
  target.value = ""; // the same file may be opened again
});
get("aligned").addEventListener("change", setAligned);
get("camera").addEventListener("click", () => (video.srcObject ? stopCamera() : startCamera().catch(fail)));
stage.addEventListener("pointerdown", grab);
stage.addEventListener("pointermove", drag);
for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (dragged = null));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]).catch(fail);
});
start().catch(fail);
