#!/usr/bin/env bash
# What the Dockerfile runs: install this checkout for DEVICE, cpu or cuda. CI runs it in an environment of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${DEVICE:-cpu}" in
cpu) extras=faces,video,heic,pandas,fetch,export ;;
cuda) extras=faces,video,heic,pandas,fetch,export,cuda ;;
*)
    echo "DEVICE must be cpu or cuda, got ${DEVICE:-}" >&2
    exit 2
    ;;
esac
pip install --quiet ".[$extras]"
cd / # the package that was installed, not this folder
fgnet-jax --version
