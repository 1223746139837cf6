# The web page of `cosal serve`; any other verb as `docker run ... IMAGE cosal VERB ...`.
#
#     docker build -t cosal .
#     docker run --rm -p 127.0.0.1:7860:7860 cosal
#
# On a GPU, with NVIDIA's container toolkit:
#
#     docker build -t cosal-gpu --build-arg DEVICE=cuda .
#     docker run --rm --gpus all -p 127.0.0.1:7860:7860 cosal-gpu
FROM python:3.11-slim

# cpu or cuda: where the page computes. The package index has one torch for both.
ARG DEVICE=cpu
# Optional parts of the package, with commas between them.
ARG EXTRAS=web
# Another index that has torch, such as https://download.pytorch.org/whl/cpu, whose wheels are
# smaller by the GPU's libraries; empty takes the package index alone.
ARG TORCH_INDEX=

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 DEVICE=${DEVICE}
WORKDIR /build
COPY constraints.txt ./
RUN pip install -c constraints.txt ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} setuptools torch torchvision
COPY . ./
RUN python tools/install_detectron2.py --constraint constraints.txt \
 && pip install -c constraints.txt --no-build-isolation ".[${EXTRAS}]" \
 && rm -rf /build/*

RUN useradd --create-home --uid 1000 cosal
USER cosal
WORKDIR /home/cosal
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/health', timeout=4)"]
CMD ["sh", "-c", "exec cosal serve --host 0.0.0.0 --port 7860 --device ${DEVICE}"]
