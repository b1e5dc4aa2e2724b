# Two stages: a Rust toolchain to build, and a base with nothing but a C library to run.
# The compiler that the profile in loadtests/layout was learned with.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
COPY loadtests loadtests
COPY .cargo .cargo
RUN mkdir /state && cargo build --release --locked --bin tidegate

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/tidegate /usr/local/bin/tidegate
COPY config/container.toml /etc/tidegate/tidegate.toml
# The history of revisions; mount a volume here to keep it.
COPY --from=build --chown=nonroot:nonroot /state /var/lib/tidegate
VOLUME /var/lib/tidegate
EXPOSE 8080
USER nonroot
# The image has no shell and no curl: the binary asks its own admin API.
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s \
    CMD ["/usr/local/bin/tidegate", "ready"]
ENTRYPOINT ["/usr/local/bin/tidegate"]
CMD ["run", "-c", "/etc/tidegate/tidegate.toml"]
