# rmux alone in an image: one static binary, its configuration, and the folder of its socket; no shell, no C library.
#
#   docker build -t rmux .
#   docker run --rm -v sockets:/run/rmux -v ./rmux.json:/etc/rmux/rmux.json:ro rmux
#
# It serves what /etc/rmux/rmux.json says; the one in the image listens on /run/rmux/rmux.sock and has one server,
# redis:6379. The health check asks the same listeners. Who gives flags in the place of -config must give
# the same to the health check.

FROM rust:1-slim AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
RUN target="$(uname -m)-unknown-linux-musl" \
    && rustup target add "$target" \
    && apt-get update && apt-get install -y --no-install-recommends musl-tools \
    && cargo build --locked --profile small --target "$target" \
    && install -D -m 755 "target/$target/small/rmux" /image/rmux \
    && mkdir -p /image/run/rmux

FROM scratch
COPY --from=build /image/rmux /rmux
COPY LICENSE /LICENSE
COPY examples/compose/rmux.json /etc/rmux/rmux.json
# A volume that is mounted here belongs to this user as well.
COPY --from=build --chown=65532:65532 /image/run /run
USER 65532:65532
ENTRYPOINT ["/rmux"]
CMD ["-config=/etc/rmux/rmux.json"]
# Of rmux alone: whether the servers behind it are up is no reason to start it anew.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/rmux", "-config=/etc/rmux/rmux.json", "-healthcheck"]
