#!/usr/bin/env bash
# Copy the two files of ONNX Runtime that the page needs from the npm package onnxruntime-web to a folder: ort/, or $1.
set -euo pipefail
release=1.30.0
mkdir -p "${1:-$(dirname "${BASH_SOURCE[0]}")/ort}"
folder=$(realpath "${1:-$(dirname "${BASH_SOURCE[0]}")/ort}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
npm pack --silent "onnxruntime-web@$release" >/dev/null
tar xzf "onnxruntime-web-$release.tgz" package/dist/ort.wasm.bundle.min.mjs package/dist/ort-wasm-simd-threaded.wasm
cp package/dist/* "$folder"
