# One static binary, no shell, not root. Build: docker build --build-arg VERSION=$(git describe --tags --always) .
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY internal/nowebtransport/go.mod internal/nowebtransport/
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/codewar/socketbridge/internal/buildinfo.Version=${VERSION}" -o /out/socketbridge . \
    && mkdir /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/socketbridge /usr/local/bin/socketbridge
# The only place it writes, and only with the embedded NATS server: the rest of the
# file system may be read-only. A volume that is mounted here must belong to 65532.
COPY --from=build --chown=nonroot:nonroot /out/data /var/lib/socketbridge/data
USER 65532:65532
WORKDIR /var/lib/socketbridge
VOLUME /var/lib/socketbridge/data
ENV LOG_FORMAT=json
# Browsers and HTTP callers. The embedded NATS server stays on loopback inside the
# container: publishers outside need NATS_URL, or NATS_EMBEDDED_ADDR=:4222 with NATS_TOKEN.
EXPOSE 3004
# No HEALTHCHECK: there is nothing in the image to ask with. Whoever runs it asks
# GET /livez and GET /readyz on port 3004.
ENTRYPOINT ["/usr/local/bin/socketbridge"]
