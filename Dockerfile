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
    -o /countersign ./cmd/countersign && mkdir /data

# It starts as root and goes on as nobody in particular: RUN_AS owns the database
# and may do nothing else. Not USER, as Fly mounts a volume as root's, and this
# image has no shell to chown it. Where the platform sets a user itself, such as
# by docker run --user 65532:65532, that holds from the start, and /data of a new
# volume is that user's.
FROM gcr.io/distroless/static-debian13
COPY --from=build /countersign /countersign
COPY --from=build --chown=65532:65532 /data /data
ENV RUN_AS=65532:65532
# The default DATABASE_URL is a file in the working directory.
WORKDIR /data
EXPOSE 8080 9091
ENTRYPOINT ["/countersign"]
CMD ["serve"]
