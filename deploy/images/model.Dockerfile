# A worker with a model in it, for where nothing can be mounted. The context is the folder of the model:
#   deploy/build_images.py --model FOLDER worker-cpu
# Settings then name it, as INDEXER_PIXEL_MODEL=biomedclip:/models.
ARG WORKER
FROM ${WORKER}
# Of root: the worker reads its model, and may not change it.
COPY . /models/
USER 10001:10001
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-m", "gpu_worker.health"]
