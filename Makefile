# Two commands matter: `make demo` and `make test`. See README.md.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  = -X rain/cmd/internal/cli.version=$(VERSION)
PKGS     = ./...
SEEDS   ?=
TIME    ?= 20s
export SEED SEEDS TIME

.PHONY: demo test check build bench mutants sim verify fuzz cross install clean

build: ## the programs, into bin/
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/snow ./cmd/rainvideo ./cmd/rainctl

demo: build ## a whole cluster of four nodes on this machine; Ctrl-C ends it
	bin/rainvideo demo

test: build ## all that this machine can prove; ends with what was skipped
	demos/test.sh

check: ## formatting, vet, staticcheck, cross builds
	@fmt=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$fmt" || { echo "not gofmt-ed: $$fmt"; exit 1; }
	$(GO) vet $(PKGS)
	cd cmd/internal/tools && $(GO) build -o ../../../bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck $(PKGS)
	$(MAKE) --no-print-directory cross

cross: ## must compile everywhere
	@for os in linux darwin freebsd windows; do for arch in amd64 arm64; do \
		echo "build $$os/$$arch"; GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/snow ./cmd/rainvideo ./cmd/rainctl && \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 $(GO) build $(PKGS) || exit 1; done; done

sim: ## the simulator alone; SEED=N replays one, SEEDS=N bounds
	$(GO) test ./ring/sim -count=1 -v -timeout 120m

mutants: ## each broken variant of the core must be caught by a named invariant
	$(GO) run ./ring/mutants

verify: ## the model of the protocol
	@echo "no model checker run yet: the Promela model comes with a later release; 'make sim' and 'make mutants' check the core itself"; exit 1

fuzz: ## every parser of foreign bytes, TIME each
	demos/fuzz.sh

bench: build ## beside peers, in one run
	demos/bench/run.sh

install: build
	install -d $(DESTDIR)/usr/local/bin
	install -m 755 bin/snow bin/rainvideo bin/rainctl $(DESTDIR)/usr/local/bin/

clean:
	rm -rf bin
