# Sightline: dashboard, or model server, in one image.
#   docker build -t sightline .                      torch as PyPI has it: runs on CPUs and, with the NVIDIA runtime, on GPUs
#   docker build -t sightline --build-arg TORCH_INDEX=URL .   torch from PyTorch's own index of CPU or CUDA builds instead
ARG PYTHON=3.11
FROM python:${PYTHON}-slim

# "" for PyPI. A torch without CUDA makes the image 5 GB smaller; torch and torchvision must come from one index.
ARG TORCH_INDEX=""
# 1 adds Ray, for servers of several processes and folder runs over a cluster.
ARG SERVE=1

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONPATH=. \
    STREAMLIT_BROWSER_GATHER_USAGE_STATS=false RAY_USAGE_STATS_ENABLED=0 \
    SIGHTLINE_CACHE=/cache
WORKDIR /sightline

# KubeRay asks its machines how they are with wget.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends wget && rm -rf /var/lib/apt/lists/*

COPY requirements.txt requirements-serve.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-cache-dir --index-url "$TORCH_INDEX" $(grep -E '^(torch|torchvision)==' requirements.txt); \
    fi \
    && pip install --no-cache-dir -r requirements.txt \
    && if [ "$SERVE" = 1 ]; then pip install --no-cache-dir -r requirements-serve.txt; fi

COPY . .
RUN useradd --create-home --uid 1000 sightline && mkdir /cache && chown sightline /cache && chmod 700 /cache
USER sightline
VOLUME /cache
EXPOSE 8501 8600

# Beyond loopback the app and the server are for a private network or behind a proxy: docs/deployment.md.
HEALTHCHECK --interval=30s --start-period=60s CMD ["python", "-c", \
    "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=5)"]
CMD ["streamlit", "run", "app.py", "--server.address", "0.0.0.0", "--server.port", "8501"]
