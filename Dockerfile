# syntax=docker/dockerfile:1
# The gateway and the booking system's services: one binary, glibc and nothing else; no shell, no package manager, not root.
#
#     docker build -t booking-system/gateway .
#     docker run --rm -p 3000:3000 -v "$PWD/transom.yaml:/etc/transom/transom.yaml:ro" booking-system/gateway
#
# It has the features that a build has by default; `--build-arg FEATURES=cel` leaves the demo services out, `FEATURES=` rules in CEL too.

# The same glibc as the image below: Debian 12's.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ARG FEATURES="cel demo"
# Symbols stay, for backtraces; line tables go.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package transom --no-default-features --features "$FEATURES" \
    && mkdir -p /out/usr/local/bin /out/usr/lib \
    && cp target/release/transom /out/usr/local/bin/ \
    # All that the binary needs and the image lacks.
    && cp /lib/*-linux-gnu/libgcc_s.so.1 /out/usr/lib/

FROM gcr.io/distroless/base-nossl-debian12:nonroot
COPY --from=build /out /
USER 65532:65532
EXPOSE 3000 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/transom"]
CMD ["serve", "--config", "/etc/transom/transom.yaml"]
