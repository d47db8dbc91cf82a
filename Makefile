# lvsd: `make demo` shows it at work, `make test` proves it, `make build` makes
# bin/lvsd. Everything that is needed besides Go and make is installed by
# `make deps`.

GO ?= go
# The release in VERSION where HEAD has its tag, or where there is no repository, as in
# the source of a release; else a version on the way to it.
RELEASE := $(shell cat VERSION)
VERSION ?= $(shell git rev-parse -q --verify HEAD >/dev/null 2>&1 || { echo $(RELEASE); exit; }; \
	[ "$$(git describe --tags --exact-match --match 'v[0-9]*' --dirty 2>/dev/null)" = v$(RELEASE) ] && echo $(RELEASE) || \
	echo $(RELEASE)-dev.$$(git rev-list --count HEAD)+g$$(git rev-parse --short=12 HEAD)$$(git diff-index --quiet HEAD -- || echo .dirty))
COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

# Runs a command on a kernel with ip_vs: this machine's, or one that it boots.
LAB = bin/uml --

# The folders of black-box tests: each becomes bin/integration/THEME.test.
THEMES = $(patsubst %/,%,$(sort $(dir $(filter-out $(patsubst %,integration/%/%,lab lvsdtest bench demo mutants),$(wildcard integration/*/*_test.go)))))

# Leaf packages by the race detector; its binaries do not start in the lab's
# kernel, so the black-box tests run without it.
RACE_PACKAGES = $(filter-out $(addprefix lvsd/,$(THEMES)),$(shell $(GO) list ./...))

# What the programs are made of, with the folders, which are newer when a file is
# gone. They are built only when one of these is newer, so that a machine can test
# what another one has built.
SOURCES := go.mod go.sum $(wildcard docs/*.go docs/lvsd.*) $(shell find checker cmd config ipvs vrrp -name testdata -prune -o ! -name '*_test.go' -print)
LAB_SOURCES := go.mod go.sum $(shell find integration -mindepth 1 ! -name '*.md' -print)
GO_BUILD = CGO_ENABLED=0 $(GO) build -trimpath -o $@

.PHONY: test-servers demo-anycast check smoke smoke-kernels test-kernels deps-kernels docs sbom screenshots package test-oncall deps-oncall build demo test race integration lint fuzz mutants capture bench bench-ipvs bench-checker bench-deadline bench-failover deps clean bench-flood bench-ecmp bench-growth release-check test-release deps-release repo chaos

build: bin/lvsd

bin/lvsd: $(SOURCES) bin/version
	$(GO_BUILD) -ldflags '$(LDFLAGS)' ./cmd/lvsd
	@touch $@

bin/version: FORCE
	@mkdir -p bin
	@v='$(VERSION) $(COMMIT)'; echo "$$v" | cmp -s - $@ || echo "$$v" >$@

# Man pages and completions, out of what --help says and docs/lvsd.toml.
docs: build
	rm -rf bin/man bin/completion && mkdir -p bin/completion
	CGO_ENABLED=0 $(GO) run -tags man ./cmd/lvsd bin/man
	for s in bash zsh fish; do bin/lvsd completion $$s >bin/completion/lvsd.$$s || exit 1; done

# The bill of materials: every module in bin/lvsd, with hashes and licences, in
# CycloneDX's form; read from the program, as a release's source has no repository. lvsd's
# licence is in no cache of modules, and Go's own is BSD-3-Clause (docs/dependencies.md,
# whose test reads it), and not what the tool takes it for.
CYCLONEDX = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
sbom: build
	CGO_ENABLED=0 $(GO) run $(CYCLONEDX) bin -json -licenses -std -version '$(VERSION)' -output bin/lvsd.cdx.json bin/lvsd
	sed -i -e 's/"BSD-Source-Code"/"BSD-3-Clause"/' -e '0,/"name": "lvsd",/s//& "licenses": [{"license": {"id": "Apache-2.0"}}],/' bin/lvsd.cdx.json

# The packages, into bin/packages.
NFPM = github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0
# dpkg and rpm sort ~ before the end: 0.9.0~dev.… is older than 0.9.0.
PKG_VERSION ?= $(subst -,~,$(VERSION))
# For other processors: make package ARCH=arm64, or both: ARCH="amd64 arm64".
ARCH ?= $(shell $(GO) env GOARCH)
MAINTAINER = $(shell sed -n 's/^maintainer: //p' cmd/lvsd/package/nfpm.yaml)
package: docs sbom
	rm -rf bin/packages bin/package && mkdir -p bin/packages bin/package/man bin/examples
	for p in bin/man/*; do gzip -9n <$$p >bin/package/man/$$(basename $$p).gz || exit 1; done
	printf 'lvsd (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' '$(PKG_VERSION)' '$(MAINTAINER)' \
		"$$(date -R -d "@$$(git log -1 --format=%ct 2>/dev/null || date +%s)")" | gzip -9n >bin/package/changelog.gz
	sed -n '/^```toml$$/,/^```$$/p' README.md | sed '/^```/d' >bin/examples/pair.toml
	bin/lvsd check -c bin/examples/pair.toml
	for a in $(ARCH); do \
		CGO_ENABLED=0 GOARCH=$$a $(GO) build -trimpath -o bin/package/lvsd -ldflags '$(LDFLAGS)' ./cmd/lvsd || exit 1; \
		for f in deb rpm; do PKG_VERSION='$(PKG_VERSION)' PKG_ARCH=$$a \
			$(GO) run $(NFPM) package -f cmd/lvsd/package/nfpm.yaml -p $$f -t bin/packages || exit 1; done; done

# What can be checked of a release without a network.
release-check: build package
	@VERSION='$(VERSION)' PKG_VERSION='$(PKG_VERSION)' sh cmd/lvsd/package/check.sh

# The release before this one, or, where there is none, the first commit that has the first
# release's names in the configuration; its packages are made from its own source.
PREVIOUS ?= $(or $(shell git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^ 2>/dev/null),ed670f0)
bin/previous:
	rm -rf bin/source && git clone -q . bin/source && git -C bin/source checkout -q --detach $(PREVIOUS)
	unset MAKEFLAGS; $(MAKE) -C bin/source package
	mv bin/source/bin/packages $@ && rm -rf bin/source

# The tests named TestRelease…: the packages on Debian's releases and by dnf, installed from
# the repositories, upgraded from the release before, removed; both versions in one pair;
# mail. RUN=REGEXP chooses tests.
test-release: deps-release build bin/uml bin/integration/built package bin/previous bin/image.tar
	$(KERNEL_TESTS) sh integration/run.sh '$(or $(RUN),^TestRelease)'

bin/image.tar: bin/lvsd Containerfile
	sh integration/packaging/image.sh

deps-release:
	@sh integration/lab/deps.sh release

# Repositories of the packages for apt and yum, in bin/repo, signed: make repo KEY=ID.
repo:
	@KEY='$(KEY)' sh cmd/lvsd/package/repo.sh

# KEEP=1 leaves the demo's hosts running with a shell in them.
demo: deps build bin/uml bin/demo
	$(LAB) bin/demo $(if $(KEEP),-keep)

# Three directors that serve one address at once, behind a router with BGP.
demo-anycast: deps build bin/uml bin/demo-anycast
	$(LAB) bin/demo-anycast

test: deps lint race integration

# What wakes the engineer on call, with a real Prometheus, Alertmanager and browser, and
# the packages: the tests named TestOncall…, in the lab's kernel. And what takes minutes.
test-oncall: deps-oncall build bin/uml bin/integration/built package
	$(KERNEL_TESTS) sh integration/run.sh '^Test(Oncall|AnycastConnections)'

# The built-in dialogues at the servers that they are for, as Debian has them: the tests
# named TestServers…. They need no IPVS, but root, for network namespaces.
test-servers: build
	@sh integration/lab/deps.sh servers
	mkdir -p bin
	CGO_ENABLED=0 $(GO) test -c -o bin/servers.test ./integration/servers
	cd integration/servers && $(KERNEL_TESTS) ../../bin/servers.test -test.v -test.timeout 20m -test.run '$(RUN)'

# The pictures of docs/screenshots: of the status page at a pair in the lab.
screenshots: deps-oncall build bin/uml bin/integration/built
	mkdir -p docs/screenshots
	LVSD_SCREENSHOTS=$(CURDIR)/docs/screenshots $(KERNEL_TESTS) sh integration/run.sh '^TestOncallPage'

deps-oncall:
	@sh integration/lab/deps.sh oncall

race: deps
	$(GO) test -race $(RACE_PACKAGES)

# On this machine's kernel where it has ip_vs and this is root, else on one that is
# booted: User-Mode Linux, or with KERNEL=6.12 Debian's. RUN=REGEXP chooses tests, by name.
ifneq ($(KERNEL),)
integration: KERNELS = $(KERNEL)
integration: test-kernels
else
integration: deps build bin/uml bin/integration/built
	$(KERNEL_TESTS) sh integration/run.sh '$(RUN)'
endif

KERNEL_TESTS = LVSD_REQUIRE_KERNEL=1 LVSD_BIN=$(CURDIR)/bin/lvsd

bin/integration/built: $(SOURCES) $(LAB_SOURCES)
	rm -rf bin/integration && mkdir -p bin/integration
	CGO_ENABLED=0 $(GO) test -c -o bin/integration/ $(addprefix ./,$(THEMES))
	@touch $@

# A pair under traffic with random faults. FOR=1h for how long, SEED=N replays a run.
chaos: deps build bin/uml bin/integration/built
	LVSD_CHAOS_SEED='$(SEED)' LVSD_CHAOS_FOR='$(FOR)' $(KERNEL_TESTS) sh integration/run.sh '^TestChaos$$'

# `make integration` inside Debian's kernels, two processors each: machines that have
# ip_vs, as those of users. Nothing is built in there.
KERNELS ?= 5.10 6.1 6.12
test-kernels: deps deps-kernels build bin/uml bin/qemu bin/integration/built
	@failed=; for k in $(KERNELS); do echo "kernel $$k"; \
		bin/qemu -v --kernel $$k --timeout 90m -- make integration KERNEL= RUN='$(RUN)' VERSION='$(VERSION)' COMMIT='$(COMMIT)' || failed="$$failed $$k"; done; \
		[ -z "$$failed" ] || { echo "failed on kernel$$failed"; exit 1; }

# What a kernel of another version is most likely to do otherwise.
SMOKE = ^(TestElectionAndBalancing|TestForwardingMethods|TestUDPAndPersistence|TestKernelAcceptsEveryForm|TestKernelSchedulers|TestKernelModuleReloaded|TestFirewallMarks|TestIPv6DirectRouting|TestIPv6Tunnels|TestVirtualMAC|TestRealServer|TestHostPrepare|TestRefusedStarts|TestUnsyncedConnectionsSurviveHandover)$$
smoke:
	$(MAKE) integration RUN='$(SMOKE)'
smoke-kernels:
	$(MAKE) test-kernels RUN='$(SMOKE)'

deps-kernels:
	@sh integration/lab/deps.sh kernels

lint:
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "gofmt would change: $$out"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	@sh integration/vulncheck.sh '$(GO)' $(GOVULNCHECK)

# The inner loop: the packages that differ from the last commit first, then all that
# is fast. Results are cached, so only what changed costs time. It needs no root, and
# says at the end what could not be tested without.
CHANGED = $(shell { git diff --name-only HEAD -- '*.go'; git ls-files -o --exclude-standard -- '*.go'; } | xargs -r -n1 dirname | sort -u | sed 's|^|lvsd/|')
UNIT_PACKAGES = $(filter-out lvsd/integration/lab/uml lvsd/integration/lab/qemu,$(RACE_PACKAGES))
check:
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); [ -z "$$out" ] || { echo "gofmt would change: $$out"; exit 1; }
	@changed='$(filter $(CHANGED),$(UNIT_PACKAGES))'; [ -z "$$changed" ] || sh integration/unit.sh $$changed
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) run $(STATICCHECK) ./...
	@sh integration/unit.sh $(UNIT_PACKAGES)

# Each fuzz target for a while; the seeds of all of them run with the tests. Without
# a bound, minimising an interesting input takes most of the time. On a busy machine go
# test sometimes fails at the end of a target's time, without a failing input.
FUZZTIME ?= 30s
fuzz:
	@mkdir -p bin; for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$p >bin/fuzz.log 2>&1 || { \
			cat bin/fuzz.log; grep -q 'context deadline exceeded' bin/fuzz.log && ! grep -q 'Failing input' bin/fuzz.log || exit 1; \
			echo "$$f found nothing: the fuzzer was interrupted at the end of its time"; }; done; done

# Plants each known bug of the election and demands that a test finds it.
mutants: deps
	$(GO) run ./integration/mutants $(if $(RUN),-run '$(RUN)')

# Hears keepalived and FRR again: vrrp/testdata/captured is what they sent.
capture: deps
	LVSD_REQUIRE_KERNEL=1 $(GO) test ./vrrp -run '^TestKernelCapture$$' -count 1 -v -capture

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# How the cost of the daemon's parts grows with servers, services, VRRP instances and
# directors: the exponent of each, which fails above linear. Two minutes, without a lab.
bench-growth:
	$(GO) test -run '^$$' -bench '/(servers|services|instances|directors)=' -benchtime 5x -benchmem $(GROWTH) | $(GO) run ./integration/bench/growth

GROWTH = ./config ./checker ./ipvs ./cmd/internal/decision ./cmd/internal/director ./cmd/internal/daemon ./cmd/internal/peers

# The control layer on large tables, beside ipvsadm -R and keepalived in the same
# boot. It takes some minutes; SMALL=1 leaves the large table out, FLAGS="-start 2"
# measures starts alone.
bench-ipvs: deps build bin/uml
	CGO_ENABLED=0 $(GO) build -o bin/bench-ipvs ./integration/bench/ipvs
	bin/uml --mem 3G -- bin/bench-ipvs $(if $(SMALL),-small) $(FLAGS)

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

# Several directors behind a router: what breaks when one is taken out, dies or comes
# back, by scheduler and connection sync, and how soon the router follows.
bench-ecmp: deps build bin/uml bin/integration/built
	$(KERNEL_TESTS) sh integration/run.sh '^TestAnycast(Planned|Connections)$$'

# What a flood of VRRP packets costs a master beside keepalived: processor time on this
# machine's kernel, which needs root and keepalived, and what is left to clients in the
# lab's. Twelve minutes.
bench-flood: deps build bin/uml
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench KernelFlood -benchtime 20000x ./vrrp
	CGO_ENABLED=0 $(GO) build -o bin/bench-flood ./integration/bench/flood
	bin/uml --timeout 1h -- bin/bench-flood $(FLAGS)

# What delays an advert on this machine's own kernel, while all is busy: with the
# elections in a process of their own, as lvsd has them, and together with the rest.
bench-deadline: deps
	CGO_ENABLED=0 $(GO) build -o bin/bench-deadline ./cmd/internal/vrrpproc/bench
	bin/bench-deadline $(FLAGS)
	bin/bench-deadline -together -for 20s $(FLAGS)

bin/uml bin/qemu: $(LAB_SOURCES)
	$(GO_BUILD) ./integration/lab/$(@F)
	@touch $@

bin/demo: $(SOURCES) $(LAB_SOURCES)
	$(GO_BUILD) ./integration/demo

bin/demo-anycast: $(SOURCES) $(LAB_SOURCES)
	$(GO_BUILD) ./integration/demo/anycast
	@touch $@

.PHONY: FORCE
FORCE:

deps:
	@sh integration/lab/deps.sh

clean:
	rm -rf bin
