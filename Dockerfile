# bioseg on processors, as a user without rights:
#   docker build -t bioseg .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" bioseg prepare folder --images images --masks masks
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:3.13-slim
COPY constraints.txt /tmp/
# The index of torch for processors: the other builds bring gigabytes for graphics cards.
RUN --mount=type=bind,from=build,source=/dist,target=/dist \
    python -m pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
    --constraint /tmp/constraints.txt "$(echo /dist/*.whl)[export,tables,volumes,zarr]" \
    && useradd --create-home --uid 1000 bioseg
# What matplotlib and numba keep for later goes where any user may write.
ENV MPLCONFIGDIR=/tmp/matplotlib NUMBA_CACHE_DIR=/tmp/numba PYTHONUNBUFFERED=1
USER 1000
WORKDIR /work
ENTRYPOINT ["bioseg"]
CMD ["--help"]
