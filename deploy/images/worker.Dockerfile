# The worker (python -m gpu_worker), for CPUs or for NVIDIA's GPUs. Built by deploy/build_images.py, which
# gives the base by its digest. Why it is so: docs/adr/0037-images-and-health.md.
ARG PYTHON_BASE=python:3.11.15-slim-bookworm

FROM ${PYTHON_BASE} AS build
WORKDIR /src
# cpu or gpu: which FAISS. TORCH_INDEX: where torch comes from; empty: PyPI, whose build is CUDA's.
ARG FAISS=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Further extras of the package, as clip,mlflow.
ARG EXTRAS=""
ARG COMMIT
ENV PIP_NO_CACHE_DIR=1
COPY pyproject.toml setup.py README.md LICENSE constraints.txt constraints-cuda.txt ./
COPY deploy/images/ deploy/images/
COPY function_app/ function_app/
COPY gpu_worker/ gpu_worker/
COPY indexer_client/ indexer_client/
COPY indexer_core/ indexer_core/
COPY local_host/ local_host/
RUN PYTHON=/usr/local/bin/python3 TORCH_INDEX="${TORCH_INDEX}" DICOM_INDEXER_COMMIT="${COMMIT}" \
    deploy/images/install_worker.sh /opt/worker "${FAISS}" "${EXTRAS}" && \
    deploy/images/sbom.sh "dicom-indexer-worker-${FAISS}" "${COMMIT:-unknown}" \
    /opt/worker/bin/python /opt/sbom.cdx.json

FROM ${PYTHON_BASE}
ARG COMMIT
ARG PYTHON_BASE
LABEL org.opencontainers.image.title="dicom-indexer worker" \
    org.opencontainers.image.description="Describes DICOM series from a queue and commits them to the index" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.revision="${COMMIT}" \
    org.opencontainers.image.base.name="${PYTHON_BASE}"
COPY --from=build /opt/worker /opt/worker
COPY --from=build /opt/sbom.cdx.json /usr/share/doc/dicom-indexer/sbom.cdx.json
# What it writes goes to /tmp, so the root can be read-only: copies of the index's files, exports.
# LOGNAME: torch asks for the name of the user, and this one has none.
# The variables of NVIDIA have the GPU given to it where there is one, and change nothing elsewhere.
ENV PATH=/opt/worker/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    INDEXER_WORKER_HEALTH_PORT=8080 \
    LOGNAME=worker \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# Where a model lies that is mounted, or baked in by model.Dockerfile.
WORKDIR /models
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
# The start exports the text encoder of a new index, and answers meanwhile.
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-m", "gpu_worker.health"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "gpu_worker"]
