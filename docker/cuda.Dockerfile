# Restores and trains on NVIDIA GPUs: docker build -f docker/cuda.Dockerfile -t mmrbgan-cuda .
# torch's wheel brings CUDA; the host needs the driver and NVIDIA's container toolkit. More in docs/install.md.
FROM python:3.11-slim-bookworm AS build
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /src

FROM python:3.11-slim-bookworm
# What OpenCV's wheel links to, as new as the image.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
# basicsr is built here, which wants torch beside it.
RUN pip install --no-cache-dir "torch>=2.6" "torchvision>=0.21" "cython>=3" "setuptools<81" "wheel>=0.43"
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-build-isolation "$(echo /wheels/*.whl)[train]" \
    && useradd --create-home --uid 1000 user \
    && install --directory --mode 1777 /weights /work
ENV MMRBGAN_HOME=/weights
VOLUME /weights
USER 1000
WORKDIR /work
ENTRYPOINT ["mmrbgan"]
CMD ["--help"]
