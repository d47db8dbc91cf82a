# lvsd: `make demo` shows it at work, `make test` proves it, `make build` makes
# bin/lvsd. Everything that is needed besides Go and make is installed by
# `make deps`.

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Runs a command on a kernel with ip_vs: this machine's, or one that it boots.
LAB = bin/uml --

# Leaf packages by the race detector; its binaries do not start in the lab's
# kernel, so integration runs without it.
THEMES = vrrp ipvs checks operate docs oncall packaging
RACE_PACKAGES = $$($(GO) list ./... | grep -v $(THEMES:%=-e '^lvsd/integration/%$$'))

# Builds the integration tests: a binary of each theme.
INTEGRATION_TESTS = rm -rf bin/integration && mkdir -p bin/integration && CGO_ENABLED=0 $(GO) test -c -o bin/integration/ $(THEMES:%=./integration/%)

.PHONY: docs sbom screenshots package test-oncall deps-oncall build demo test race integration lint fuzz mutants capture bench bench-ipvs bench-checker bench-deadline bench-failover deps clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/lvsd ./cmd/lvsd

# Man pages and completions, out of what --help says and docs/lvsd.toml.
docs: build
	rm -rf bin/man bin/completion && mkdir -p bin/completion
	CGO_ENABLED=0 $(GO) run -tags man ./cmd/lvsd bin/man
	for s in bash zsh fish; do bin/lvsd completion $$s >bin/completion/lvsd.$$s || exit 1; done

# The bill of materials: every module in the program, with hashes and licences, in
# CycloneDX's form. Go's own licence is BSD-3-Clause (docs/dependencies.md, whose
# test reads it), and not what the tool takes it for.
CYCLONEDX = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
sbom:
	mkdir -p bin
	CGO_ENABLED=0 $(GO) run $(CYCLONEDX) app -json -licenses -std -main cmd/lvsd -output bin/lvsd.cdx.json .
	sed -i 's/"BSD-Source-Code"/"BSD-3-Clause"/' bin/lvsd.cdx.json

# The packages, into bin/packages.
NFPM = github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0
PKG_VERSION ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//; s/-/+/; s/-/./g' | grep . || echo "0.0.0+$$(git rev-list --count HEAD 2>/dev/null || echo 0).$(COMMIT)")
package: docs sbom
	rm -rf bin/packages && mkdir -p bin/packages bin/examples
	sed -n '/^```toml$$/,/^```$$/p' README.md | sed '/^```/d' >bin/examples/pair.toml
	bin/lvsd check -c bin/examples/pair.toml
	for f in deb rpm; do PKG_VERSION='$(PKG_VERSION)' PKG_ARCH=$$($(GO) env GOARCH) \
		$(GO) run $(NFPM) package -f cmd/lvsd/package/nfpm.yaml -p $$f -t bin/packages || exit 1; done

# KEEP=1 leaves the demo's hosts running with a shell in them.
demo: deps build bin/uml
	CGO_ENABLED=0 $(GO) build -o bin/demo ./integration/demo
	$(LAB) bin/demo $(if $(KEEP),-keep)

test: deps lint race integration

# What wakes somebody at night, with a real Prometheus, Alertmanager and browser,
# and the packages: the tests named TestOncall…, in the lab's kernel.
test-oncall: deps-oncall build bin/uml package
	$(INTEGRATION_TESTS)
	HALVES=1 LVSD_REQUIRE_KERNEL=1 LVSD_BIN=$(CURDIR)/bin/lvsd sh integration/run.sh '^TestOncall'

# The pictures of docs/screenshots: of the status page at a pair in the lab.
screenshots: deps-oncall build bin/uml
	$(INTEGRATION_TESTS)
	mkdir -p docs/screenshots
	LVSD_SCREENSHOTS=$(CURDIR)/docs/screenshots LVSD_REQUIRE_KERNEL=1 LVSD_BIN=$(CURDIR)/bin/lvsd sh integration/run.sh '^TestOncallPage'

deps-oncall:
	@sh integration/lab/deps.sh oncall

race: deps
	$(GO) test -race $(RACE_PACKAGES)

integration: deps build bin/uml
	$(INTEGRATION_TESTS)
	LVSD_REQUIRE_KERNEL=1 LVSD_BIN=$(CURDIR)/bin/lvsd sh integration/run.sh '$(RUN)'

lint:
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "gofmt would change: $$out"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# Each fuzz target for a while; the seeds of all of them run with the tests.
FUZZTIME ?= 30s
fuzz:
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

# Plants each known bug of the election and demands that a test finds it.
mutants: deps
	$(GO) run ./integration/mutants $(if $(RUN),-run '$(RUN)')

# Hears keepalived and FRR again: vrrp/testdata/captured is what they sent.
capture: deps
	LVSD_REQUIRE_KERNEL=1 $(GO) test ./vrrp -run '^TestKernelCapture$$' -count 1 -v -capture

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# The control layer on large tables, beside ipvsadm -R and keepalived in the same
# boot. It takes some minutes; SMALL=1 leaves the large table out.
bench-ipvs: deps build bin/uml
	CGO_ENABLED=0 $(GO) build -o bin/bench-ipvs ./integration/bench/ipvs
	bin/uml --mem 3G -- bin/bench-ipvs $(if $(SMALL),-small)

# What a probe costs: beside keepalived in one boot, and ten thousand a second on
# one core of this machine's own kernel. Six minutes, with the machine to itself.
bench-checker: deps build bin/uml
	CGO_ENABLED=0 $(GO) build -o bin/bench-checker ./integration/bench/checker
	$(LAB) bin/bench-checker $(FLAGS)
	bin/bench-checker -host $(HOSTFLAGS)

# What a client sees when the address moves, beside keepalived in one boot: the whole
# table of docs/performance.md. A round takes a quarter of a minute, 28 make one of all.
bench-failover: deps build bin/uml
	CGO_ENABLED=0 $(GO) build -o bin/bench-failover ./integration/bench/failover
	bin/uml --timeout 1h -- bin/bench-failover $(FLAGS)

# What delays an advert on this machine's own kernel, while all is busy: with the
# elections in a process of their own, as lvsd has them, and together with the rest.
bench-deadline: deps
	CGO_ENABLED=0 $(GO) build -o bin/bench-deadline ./cmd/internal/vrrpproc/bench
	bin/bench-deadline $(FLAGS)
	bin/bench-deadline -together -for 20s $(FLAGS)

bin/uml: FORCE
	@CGO_ENABLED=0 $(GO) build -o bin/uml ./integration/lab/uml
.PHONY: FORCE
FORCE:

deps:
	@sh integration/lab/deps.sh

clean:
	rm -rf bin
