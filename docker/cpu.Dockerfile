# Restores on the CPU: docker build -f docker/cpu.Dockerfile -t mmrbgan .
# More in docs/install.md.
FROM python:3.11-slim-bookworm AS build
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /src

FROM python:3.11-slim-bookworm
# What OpenCV's wheel links to, as new as the image.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
# torch's builds for the CPU take a tenth of the space.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.6" "torchvision>=0.21"
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl \
    && useradd --create-home --uid 1000 user \
    && install --directory --mode 1777 /weights /work
ENV MMRBGAN_HOME=/weights
VOLUME /weights
USER 1000
WORKDIR /work
ENTRYPOINT ["mmrbgan"]
CMD ["--help"]
