# A store behind HTTP: `activeindex serve`. See docs/container.md.
FROM python:3.12-slim-bookworm AS build

WORKDIR /build
RUN python -m venv /opt/activeindex
ENV PATH=/opt/activeindex/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt ./
# The build for CPUs: the one of PyPI brings CUDA, four gigabytes more.
RUN grep '^torch==' constraints.txt > torch.txt \
    && pip install --index-url https://download.pytorch.org/whl/cpu --extra-index-url https://pypi.org/simple \
        --constraint constraints.txt --requirement torch.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --constraint constraints.txt ".[serve]"

FROM python:3.12-slim-bookworm

RUN useradd --create-home --uid 10001 activeindex && install --directory --owner activeindex /data
COPY --from=build /opt/activeindex /opt/activeindex
ENV PATH=/opt/activeindex/bin:$PATH OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
ENTRYPOINT ["activeindex"]
CMD ["serve", "/data/store", "--host", "0.0.0.0"]
