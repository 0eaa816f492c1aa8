# The one image: `tieline` with every role. `make image` builds it; each base with Debian's tools and
# Python 3.11 or newer will do, such as one made by debootstrap.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /build
# What builds the wheel stays in an environment of its own, which the image does not get.
RUN python3 -m venv tools
COPY requirements-build.lock ./
RUN tools/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-build.lock
# Dependencies change less often than the code: their layer comes first and is kept.
RUN python3 -m venv --without-pip /opt/tieline
COPY requirements-image.lock ./
RUN tools/bin/pip --python /opt/tieline/bin/python install --no-cache-dir --require-hashes \
    --only-binary :all: -r requirements-image.lock
COPY pyproject.toml README.md LICENSE ./
COPY gen gen
COPY operator operator
COPY services services
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . && \
    tools/bin/pip --python /opt/tieline/bin/python install --no-cache-dir --no-deps --no-index dist/*.whl

FROM ${BASE_IMAGE}
# HAProxy is what `tieline edge` runs. No package manager stays.
RUN apt-get update && \
    apt-get install --yes --no-install-recommends haproxy && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt /usr/bin/apt* /usr/bin/dpkg* \
      /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/* \
      /usr/local/lib/python3*/ensurepip /usr/lib/python3/dist-packages/pip* /usr/bin/pip*
COPY --from=build /opt/tieline /opt/tieline
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
WORKDIR /tmp
# In this form the process has number 1 and gets SIGTERM itself.
ENTRYPOINT ["/opt/tieline/bin/tieline"]
# They change with every build, and so come last.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tieline" \
      org.opencontainers.image.description="Open enterprise connector: one image, every role" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
