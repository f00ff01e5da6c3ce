# The demo: a game server, simulated players, and a page for visitors.
#   docker build --tag hisock-demo .
#   docker run --rm --publish 5000:5000 --publish 8000:8000 hisock-demo
# The page is at http://localhost:8000, the game for hisock's clients at port 5000.
FROM python:3.13 AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[cli,fast,websocket]'

FROM python:3.13-slim
RUN useradd --create-home --uid 1000 player
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index /wheels/*.whl
USER 1000
EXPOSE 5000 8000
# SIGTERM, which docker stop sends, ends it in order.
ENTRYPOINT ["hisock", "demo", "--plain", "--web", "--host", "0.0.0.0", "--port", "5000", "--web-port", "8000"]
