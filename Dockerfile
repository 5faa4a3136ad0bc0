# syntax=docker/dockerfile:1
# The gateway and the booking system's services: one binary, the libraries that it names, authorities, and nothing else; no shell, no
# package manager, not root.
#
#     docker build -t booking-system/gateway .
#     docker run --rm -p 3000:3000 -v "$PWD/transom.yaml:/etc/transom/transom.yaml:ro" booking-system/gateway
#
# It has the features that a build has by default; `--build-arg FEATURES=cel` leaves the demo services out, `FEATURES=` rules in CEL too.
# The profile of what calls do (release/cargo) is of this compiler and of the default features.

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
ARG FEATURES=default
# Symbols stay, for backtraces; line tables go.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    release/cargo build --release --locked --package transom --no-default-features --features "$FEATURES" \
    && install -D target/release/transom /out/usr/local/bin/transom \
    && strip --strip-debug /out/usr/local/bin/transom \
    && ldd target/release/transom | grep -o '/[^ ]*' | xargs -I{} install -D {} /out{} \
    && install -D -m 644 -t /out/etc /etc/nsswitch.conf \
    && install -D -m 644 -t /out/etc/ssl/certs /etc/ssl/certs/ca-certificates.crt

FROM scratch
COPY --from=build /out /
USER 65532:65532
EXPOSE 3000 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/transom"]
CMD ["serve", "--config", "/etc/transom/transom.yaml"]
