# Caddy with the gateway and, unless the target is remote-only, llama.cpp's server, both from the sources and packages that the
# repository pins, by the scripts that `make build` runs.
#
#   podman build -t localhost/llmgateway .
#   podman build -t localhost/llmgateway --target remote-only .
#   podman build -t localhost/llmgateway --build-arg LLAMA_BACKEND=cuda --build-arg RUNTIME_IMAGE=... .
#
# docs/image.md says how to get the same image again, byte by byte.

# Where it is built, and where it runs. A GPU's runtime libraries come with the image that it runs on.
ARG BUILD_IMAGE=docker.io/library/debian:12.15-slim
ARG RUNTIME_IMAGE=docker.io/library/debian:12.15-slim

# An image of this stage is a BUILD_IMAGE too: what is there stays, in its version.
FROM ${BUILD_IMAGE} AS tools
RUN apt-get update \
	&& apt-get install -y --no-install-recommends --no-upgrade ca-certificates g++ git golang-go npm \
	&& rm -rf /var/lib/apt/lists/*
ENV XDG_CACHE_HOME=/cache
WORKDIR /src

# llama.cpp's server. It chooses among its CPU variants when it starts; LLAMA_BACKEND=cuda or vulkan adds that one.
FROM tools AS llama-server
ARG LLAMA_BACKEND=
COPY scripts/llama-server.sh scripts/need.sh scripts/
RUN LLAMA_BACKEND="$LLAMA_BACKEND" scripts/llama-server.sh \
	&& mkdir -p /out/opt \
	&& mv /cache/llmgateway/llama.cpp/v* /out/opt/llama.cpp \
	&& chmod -R u=rwX,go=rX /out

# Caddy. GOAMD64 is the least CPU that it runs on: v1 is all, v3 those since about 2013.
FROM tools AS caddy
ARG GOAMD64=v1
COPY scripts/go.sh scripts/need.sh scripts/
COPY go.mod go.sum ./
RUN scripts/go.sh mod download
COPY plugin.go xcaddy.json ./
COPY caddymodule/ caddymodule/
COPY llmgateway/ llmgateway/
RUN mkdir -p /out/usr/bin \
	&& GOAMD64="$GOAMD64" scripts/go.sh run ./caddymodule/cmd/build -o /out/usr/bin/caddy
# What the image needs besides.
COPY deploy/container/llmgateway-admin deploy/container/llmgateway-healthcheck deploy/container/llmgateway-start /out/usr/local/bin/
COPY Caddyfile /out/etc/caddy/
COPY deploy/caddy/ /out/etc/caddy/deploy/caddy/
COPY models/starter.gguf models/starter-mmproj.gguf /out/models/
# Paths in the Caddyfile are relative to its folder there as in the repository, models too. Everybody may read what the
# checkout's owner may, whatever the umask was that it was made with.
RUN mkdir -p /out/etc/ssl/certs \
	&& cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
	&& ln -s /models /out/etc/caddy/models \
	&& chmod -R u=rwX,go=rX /out

# What is in the image besides the packages of the image that it runs on, in CycloneDX's format.
FROM caddy AS sbom
COPY scripts/llama-server.sh scripts/
COPY deploy/container/sbom/ deploy/container/sbom/
ARG VERSION=0.0.0
RUN mkdir /sbom \
	&& scripts/go.sh run ./deploy/container/sbom -binary /out/usr/bin/caddy llmgateway "$VERSION" \
		ca-certificates "$(dpkg-query --show --showformat='${Version}' ca-certificates)" >/sbom/llmgateway.cdx.json \
	&& scripts/go.sh run ./deploy/container/sbom llama-server "$VERSION" \
		llama.cpp "$(sed -n 's/^version=//p' scripts/llama-server.sh)" \
		node-llama-cpp "$(sed -n 's/^npm_version=//p' scripts/llama-server.sh)" \
		libstdc++ "$(g++ -dumpfullversion)" >/sbom/llama-server.cdx.json \
	&& chmod -R u=rwX,go=rX /sbom

FROM ${RUNTIME_IMAGE} AS remote-only
ARG RUNTIME_PACKAGES=
# New volumes take their owner from here. Of installing packages, the packages stay: logs and caches tell the time.
# hadolint ignore=DL3008
RUN install -d -o 10001 -g 10001 /config /data \
	&& if [ -n "$RUNTIME_PACKAGES" ]; then apt-get update \
		&& apt-get install -y --no-install-recommends $RUNTIME_PACKAGES \
		&& apt-get clean \
		&& rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old \
			/var/log/apt /var/log/alternatives.log /var/log/dpkg.log; fi
COPY --from=caddy /out/ /
COPY --from=sbom /sbom/llmgateway.cdx.json /usr/share/sbom/
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data HOME=/data
WORKDIR /etc/caddy
VOLUME ["/config", "/data", "/models"]
EXPOSE 80 443 443/udp 7000
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --retries=3 CMD ["llmgateway-healthcheck"]
ENTRYPOINT ["llmgateway-start"]
CMD ["run", "--config", "/etc/caddy/Caddyfile"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="LLMGateway" \
	org.opencontainers.image.description="Caddy as the gateway to local and remote language models, and as Bytebot's front door" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="${VERSION}" \
	org.opencontainers.image.revision="${REVISION}" \
	io.github.bytebot-llmgateway.sbom="/usr/share/sbom"

FROM remote-only AS local
COPY --from=llama-server /out/ /
COPY --from=sbom /sbom/llama-server.cdx.json /usr/share/sbom/
ENV LLAMA_SERVER=/opt/llama.cpp/llama-server
