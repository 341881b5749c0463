# fgnet_jax for CPUs, and for NVIDIA GPUs:
#
#     docker build -t fgnet_jax .
#     docker build -t fgnet_jax:cuda --build-arg DEVICE=cuda .
#     docker run --rm -v "$PWD":/data fgnet_jax predict --weights /data/weights --csv /data/out.csv /data/clip.mp4
#     docker run --rm --gpus all -v "$PWD":/data fgnet_jax:cuda predict ...
#
# CUDA's libraries come as wheels with JAX: the host needs NVIDIA's driver and container toolkit alone.
FROM python:3.12-slim-bookworm

ARG DEVICE=cpu
ENV PIP_NO_CACHE_DIR=1
WORKDIR /opt/fgnet_jax
COPY . .
RUN DEVICE="$DEVICE" bash docker/install.sh

# Compiled programs are kept in the volume, so that the next container starts at once.
ENV XDG_CACHE_HOME=/cache
VOLUME /cache
WORKDIR /data
ENTRYPOINT ["fgnet-jax"]
CMD ["--help"]
