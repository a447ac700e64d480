# Builds the release and puts the one binary into a small image. Settings come by environment variables: see config/default.toml.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
# Roots for TLS to the database and to Redis.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /var/lib/tributary tributary
COPY --from=build /source/target/release/tributary /usr/local/bin/tributary
USER tributary
WORKDIR /var/lib/tributary
EXPOSE 8080
ENTRYPOINT ["tributary"]
CMD ["serve"]
