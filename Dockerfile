# sitsfuse with all its extras, torch for the CPU. Nothing is fetched but packages from their registry.
FROM python:3.12-slim

RUN useradd --create-home sitsfuse
WORKDIR /opt/sitsfuse
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
# torch first, at its pinned version: a bare resolve may draw another build of it.
RUN python -m pip install --no-cache-dir -c constraints.txt torch \
 && python -m pip install --no-cache-dir -c constraints.txt ".[torch,onnx,scale,report,stac,download]" \
 && rm -rf /opt/sitsfuse/*

USER sitsfuse
WORKDIR /data
# Compiled loops are kept where the user may write.
ENV NUMBA_CACHE_DIR=/home/sitsfuse/.cache/numba
ENTRYPOINT ["sitsfuse"]
CMD ["--help"]
