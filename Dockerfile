# countersign, alone in an image: one static program, CA certificates, time
# zones. fly.toml deploys it; it runs anywhere else as well:
#
#   make image
#   docker run -p 8080:8080 -v countersign:/data --env-file .env countersign:VERSION

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" \
    -o /countersign ./cmd/countersign

# Not the :nonroot variant. A Fly volume is mounted owned by root, this image
# has no shell to chown it, and a service that cannot write its database is
# no safer. On Fly the machine is a VM with nothing else in it. Where /data is
# not root's, or the database is PostgreSQL, run it with --user 65532.
FROM gcr.io/distroless/static-debian13
COPY --from=build /countersign /countersign
# The default DATABASE_URL is a file in the working directory.
WORKDIR /data
EXPOSE 8080 9091
ENTRYPOINT ["/countersign"]
CMD ["serve"]
