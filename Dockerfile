# syntax=docker/dockerfile:1
# The hub as an image: the binary, the C library and certificate authorities; no shell, no package manager, not root.
#
#   docker build -t event-source-api .
#   docker run -p 127.0.0.1:8080:8080 -v events:/data -e EVENTS__AUTH__OPEN=true event-source-api
#
# Inside it listens on every address of its container, and without access tokens the hub does that only when it is told
# that this is meant (EVENTS__AUTH__OPEN). The image does not say so: whoever publishes the port does.

# Both stages are of one Debian, so that the C library is the one that was linked against.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Line tables stay out of the image; names of functions stay in, for a panic's trace.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin event-source-api \
    && install -D target/release/event-source-api /image/usr/bin/event-source-api \
    && install -d -o 65532 -g 65532 /image/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /image /
ENV EVENTS__HTTP__BIND=0.0.0.0:8080 \
    EVENTS__STORE__URL=embedded:/data
# By number, so that Kubernetes sees that it is not root.
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/bin/event-source-api", "health", "--alive", "http://127.0.0.1:8080"]
ENTRYPOINT ["/usr/bin/event-source-api"]
