# One image for every penstock process; the command says which.
ARG PYTHON_IMAGE=python:3.12-slim
FROM node:22-slim AS dashboard
WORKDIR /web
COPY live_dashboard/package.json live_dashboard/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY live_dashboard/ ./
RUN npm run build

# Any image with a Python 3 does: where it is not 3.11 or 3.12, uv fetches one.
FROM ${PYTHON_IMAGE}
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home --uid 10001 penstock
WORKDIR /app
COPY ops/venv.sh ops/venv.sh
RUN sh ops/venv.sh /opt/penstock
ENV PATH=/opt/penstock/bin:$PATH
COPY requirements.txt ./
RUN pip install -r requirements.txt
COPY . .
RUN pip install --no-deps -e . && python -m cli.warm && mkdir -p /data && chown penstock /data
COPY --from=dashboard /web/dist live_dashboard/dist
USER penstock
ENV PENSTOCK_DATA_DIR=/data PENSTOCK_HOST=0.0.0.0
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["penstock"]
CMD ["api"]
