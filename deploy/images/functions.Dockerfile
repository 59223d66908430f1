# The Functions app as a container, for where packages cannot be deployed: what `make package` has built, on
# Microsoft's host. Built by deploy/build_images.py, which gives the base by its digest.
ARG FUNCTIONS_BASE=mcr.microsoft.com/azure-functions/python:4-python3.13

FROM ${FUNCTIONS_BASE}
ARG COMMIT
ARG FUNCTIONS_BASE
LABEL org.opencontainers.image.title="dicom-indexer functions" \
    org.opencontainers.image.description="Looks at new blobs, and answers searches" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.revision="${COMMIT}" \
    org.opencontainers.image.base.name="${FUNCTIONS_BASE}"
COPY build/functions/ /home/site/wwwroot/
COPY build/sbom/functions.cdx.json /usr/share/doc/dicom-indexer/sbom.cdx.json
# A port that takes no root. The host writes to its home: its lock files and keys, which /tmp can hold.
ENV AzureWebJobsScriptRoot=/home/site/wwwroot \
    AzureFunctionsJobHost__Logging__Console__IsEnabled=true \
    ASPNETCORE_URLS=http://+:8080 \
    FUNCTIONS_WORKER_RUNTIME=python \
    PYTHON_SCRIPT_FILE_NAME=functions_entry.py \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /home/site/wwwroot
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=60s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=9); c.request('GET', '/api/health'); raise SystemExit(c.getresponse().status != 200)"]
