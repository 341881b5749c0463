// The network: one ONNX file and its description, run by onnxruntime-web from the folder ort/ beside this page.

const RUNTIME = "./ort/ort.wasm.bundle.min.mjs";

export class Problem extends Error {}

async function fetched(address, remedy) {
  let response;
  try {
    response = await fetch(address);
  } catch {
    throw new Problem(`${address} cannot be loaded: is this page served, as by python -m http.server?`);
  }
  if (!response.ok) throw new Problem(`${address} is missing: ${remedy}`);
  return response;
}

async function runtime() {
  await fetched(RUNTIME, "copy onnxruntime-web's two files into ort/, as README.md says");
  const ort = await import(RUNTIME);
  ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  return ort;
}

// Load the network `name`, such as "student.onnx". Returns its description, and `detect`: from RGB bytes of one aligned
// face, side x side x 3, to { scores, heatmaps, milliseconds }; heatmaps are side by side in rows, the AUs innermost.
export async function load(name) {
  const remedy = `fgnet-jax export --weights DIR --format onnx --output docs/web/${name} writes it`;
  const description = await (await fetched(`${name}.json`, remedy)).json();
  if (description.files.weights) throw new Problem(`${name} has its weights in another file: browsers take students only`);
  const model = new Uint8Array(await (await fetched(name, remedy)).arrayBuffer());
  const ort = await runtime();
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  const side = description.image_size;
  const detect = async (pixels) => {
    const images = new ort.Tensor("uint8", pixels, [1, side, side, 3]);
    const start = performance.now();
    const { scores, heatmaps } = await session.run({ images });
    return { scores: scores.data, heatmaps: heatmaps.data, milliseconds: performance.now() - start };
  };
  await detect(new Uint8Array(side * side * 3)); // the first run allocates
  return { description, detect, threads: ort.env.wasm.numThreads };
}
