# Lastgood as an image: a virtual environment from the hashed lock files, run by a user who is not root.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY .ci/locks/build.txt .ci/locks/run.txt locks/
RUN python -m venv tools && tools/bin/pip install --quiet --require-hashes -r locks/build.txt
RUN python -m venv /opt/lastgood && /opt/lastgood/bin/pip install --quiet --require-hashes -r locks/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY bot bot
COPY adapters adapters
COPY runbooks runbooks
RUN tools/bin/python -m hatchling build -t wheel -d wheels
RUN /opt/lastgood/bin/pip install --quiet --no-deps --no-index wheels/*.whl

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="lastgood" \
      org.opencontainers.image.description="Puts a machine-learning model back to its last good version, and proves it." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --home-dir /var/lib/lastgood --create-home lastgood
COPY --from=build /opt/lastgood /opt/lastgood
COPY runbooks /etc/lastgood/runbooks
ENV PATH=/opt/lastgood/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LASTGOOD_CONFIG=/etc/lastgood/lastgood.yaml \
    LASTGOOD_DATABASE_URL=sqlite:////var/lib/lastgood/lastgood.db \
    LASTGOOD_HOST=0.0.0.0 \
    LASTGOOD_PORT=8080
USER lastgood
WORKDIR /var/lib/lastgood
VOLUME /var/lib/lastgood
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen('http://127.0.0.1:' + os.environ['LASTGOOD_PORT'] + '/healthz', timeout=2)"]
CMD ["lastgood", "serve"]
