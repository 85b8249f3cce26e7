# What the steps of a pipeline run in on Kubeflow and Vertex AI: docs/kubeflow.md, docs/vertex.md. Needs BuildKit, as Docker has since 23.
#
#   docker build --tag REGISTRY/model-patching:VERSION .
#   docker build --tag REGISTRY/model-patching:VERSION-gpu --build-arg VARIANT=gpu .
#
# Debian 13 has glibc 2.41, so that all packages are the official ones. The digest is of all platforms together.

# cpu, or gpu: with the CUDA libraries that TensorFlow was built for. The driver is the machine's.
ARG VARIANT=cpu

FROM debian:trixie-20260918-slim@sha256:a99cfc517144bc59b1978475ec53b46ecabec7e43635402ee5b77cc54cd1b20a AS python
# Debian keeps no old versions, so there are none to pin to; all that the project imports is in the lock.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*

# The packages of the lock, a layer of their own: a change of the project leaves it as it is.
FROM python AS packages-cpu
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements/lock-glibc-2.39.txt requirements/kubeflow-glibc-2.39.txt requirements/
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1
# The lock pins uv as well, which installs all the rest of it. Of kfp only what tasks on Vertex AI read their arguments by.
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps \
        "$(grep --only-matching '^uv==[^ ;]*' requirements/lock-glibc-2.39.txt)" \
    && /opt/venv/bin/uv pip install --python /opt/venv/bin/python --no-deps \
        --requirements requirements/lock-glibc-2.39.txt \
        "$(grep --only-matching '^kfp-pipeline-spec==[^ ;]*' requirements/kubeflow-glibc-2.39.txt)"

FROM packages-cpu AS packages-gpu
COPY requirements/gpu-glibc-2.39.txt requirements/
RUN /opt/venv/bin/uv pip install --python /opt/venv/bin/python --no-deps \
        --requirements requirements/gpu-glibc-2.39.txt

FROM packages-cpu AS wheel
COPY setup.py pyproject.toml README.md LICENSE ./
COPY data data
COPY components components
COPY pipelines pipelines
RUN /opt/venv/bin/uv build --python /opt/venv/bin/python --no-build-isolation --wheel --out-dir /wheel .

# hadolint ignore=DL3006
FROM packages-${VARIANT} AS packages

FROM python
RUN useradd --uid 1000 --create-home --shell /usr/sbin/nologin model-patching
COPY --from=packages /opt/venv /opt/venv
COPY --from=wheel /wheel /wheel
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN uv pip install --python /opt/venv/bin/python --no-cache --no-deps --compile-bytecode /wheel/*.whl
# By its number, so that Kubernetes can see that it isn't root (runAsNonRoot).
USER 1000
WORKDIR /home/model-patching
# The steps of a compiled pipeline give their own command; this is what most of them run.
ENTRYPOINT ["python", "-m", "model_patching.pipelines.kubeflow.node"]
