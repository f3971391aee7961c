# Two commands matter: `make demo` and `make test`. See README.md.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  = -X rain/cmd/internal/cli.version=$(VERSION)
PKGS     = ./...
SEEDS   ?=
TIME    ?= 20s
export SEED SEEDS TIME

.PHONY: demo test check build assets bench mutants sim verify fuzz cross install clean

build: assets ## the programs, into bin/
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/snow ./cmd/rainvideo ./cmd/rainctl ./demos/lab

# The player and the live picture are a matter of npm. Without npm, or without a
# network, the programs are built nevertheless; the pages then say what they lack.
UI = $(filter-out %/node_modules,$(wildcard assets/ui/* assets/ui/gui/*))

assets: assets/dist/player.js ## the pages' scripts, into assets/dist, by npm

assets/dist/player.js: $(UI)
	@if command -v npm >/dev/null 2>&1; then \
		(cd assets/ui && npm ci --fetch-retries=1 --fetch-timeout=30000 --no-audit --no-fund --loglevel=error && node build.mjs) || \
		echo "assets/dist: npm failed, see above; the film's page goes without its player, the admin address without its picture" >&2; \
	else echo "assets/dist: no npm here; the film's page goes without its player, the admin address without its picture" >&2; fi

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

# Each system and each architecture; CROSS="linux/arm64 windows/amd64" bounds it.
CROSS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 freebsd/amd64 freebsd/arm64 windows/amd64 windows/arm64
cross: ## must compile everywhere
	@for at in $(CROSS); do echo "build $$at"; \
		GOOS=$${at%/*} GOARCH=$${at#*/} CGO_ENABLED=0 $(GO) build $(PKGS) || exit 1; done

sim: ## the simulator alone; SEED=N replays one, SEEDS=N bounds
	$(GO) test ./ring/sim -count=1 -v -timeout 120m

mutants: ## each broken variant of a core must be caught, by a named invariant or test
	$(GO) run ./ring/mutants

verify: ## the model of the protocol, and its broken variants; needs spin and gcc
	$(GO) run ./ring/model

fuzz: ## every parser of foreign bytes, TIME each
	demos/fuzz.sh

bench: build ## beside peers, in one run; ONLY="web object video vip go"
	demos/bench/run.sh $(ONLY)

install: build
	install -d $(DESTDIR)/usr/local/bin
	install -m 755 bin/snow bin/rainvideo bin/rainctl $(DESTDIR)/usr/local/bin/

clean:
	rm -rf bin assets/ui/node_modules
	find assets/dist -type f ! -name .gitignore -delete
