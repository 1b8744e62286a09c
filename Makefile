# Everything one does with countersign. `make` alone lists it.

SHELL       := /bin/bash -o pipefail
MAKEFLAGS   += --no-print-directory
TOOL        := go tool -modfile=$(CURDIR)/tools/go.mod
LINT        := $(TOOL) golangci-lint
# The service, and whatever keeps its dependencies apart in a module of its own.
MODULES     := $(patsubst %/go.mod,%,$(shell find . -name go.mod -not -path '*/node_modules/*' -not -path '*/testdata/*'))
CODE        := $(filter-out ./tools,$(MODULES)) # tools has pins and no packages
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TESTTIMEOUT ?= 15m
PARTS       := go test -run '^$$' -bench . -benchmem -benchtime 0.3s -count 6 ./flow ./twiml ./internal/ledger
BENCH       ?= -out ../docs/performance.md # -help lists what else there is

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## run the whole thing with a pretend Twilio: no account, no cost
	go run ./cmd/countersign demo

.PHONY: build
build: ## build both programs into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

.PHONY: test
test: ## run every test, under the race detector, installing what they need
	tools/install
	for m in $(CODE); do go -C $$m test -race -timeout $(TESTTIMEOUT) ./... || exit 1; done
	tools/fuzz 1000x

.PHONY: lint
lint: ## gofmt, vet, golangci-lint, tidy modules, generated files in step
	tools/gofmt-check
	for m in $(MODULES); do go -C $$m mod tidy -diff || exit 1; done
	for m in $(CODE); do go -C $$m vet ./... || exit 1; done
	$(LINT) config verify
	for m in $(CODE); do (cd $$m && $(LINT) run --allow-parallel-runners) || exit 1; done
	tools/generate-check

.PHONY: fmt
fmt: ## format the Go files and order their imports
	$(LINT) fmt

.PHONY: generate
generate: ## rewrite the files that are made from others
	go generate ./...

.PHONY: soak
soak: ## test longer: a thousand kills, more random cases, every fuzz target
	tools/install
	tools/soak

.PHONY: bench
bench: ## measure the service beside a limit server, in ratios (two cores, minutes)
	go -C bench run . $(BENCH)

.PHONY: bench-go
bench-go: ## run the Go benchmarks, and compare them with those of the last release
	mkdir -p bin
	$(PARTS) | tee bin/parts.txt
	$(TOOL) benchstat docs/bench/parts.txt bin/parts.txt

.PHONY: bench-baseline
bench-baseline: ## write what parts cost and roads allocate now to docs/bench
	$(PARTS) > docs/bench/parts.txt
	go -C bench test -count=1 -run '^TestAllocations$$' . -update

.PHONY: screenshots
screenshots: ## take the README's pictures from the running demo
	go run ./internal/screenshots

.PHONY: vendor-pages
vendor-pages: ## fetch the front end's vendored files again
	tools/vendor-pages

.PHONY: image
image: ## build the container image
	docker build --build-arg VERSION=$(VERSION) --tag countersign:$(VERSION) .
