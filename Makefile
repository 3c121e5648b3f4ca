# What is typed often. Each target is a plain command that works without make.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 60s
FUZZPKGS ?= $(addprefix ./,$(sort $(dir $(shell grep -rl --include='*_test.go' '^func Fuzz' bench bridge gateway internal store subscriber *_test.go))))
LINT     ?= go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.0
STATIC   ?= go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOSEC    ?= go run github.com/securego/gosec/v2/cmd/gosec@v2.30.0
VULN     ?= go run golang.org/x/vuln/cmd/govulncheck@v1.9.0
SUDO     := $(if $(filter-out 0,$(shell id -u)),sudo)

.PHONY: help run dev build console client test race fuzz chaos attack bench lint audit vuln check deps vet

help: ## show this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: ## serve with the embedded NATS server and the in-memory store
	go run .

# A source that does not compile leaves the old process running.
dev: ## serve, and build again and restart when a source, config.yaml or .env changes (ARGS: the command line)
	@mkdir -p bin; pid=; trap 'kill $$pid 2>/dev/null; wait' EXIT; trap 'exit 0' INT TERM; \
	while :; do \
		touch bin/.dev; \
		if go build -o bin/dev .; then \
			test -z "$$pid" || { kill $$pid 2>/dev/null; wait $$pid; }; \
			bin/dev $(ARGS) & pid=$$!; \
		fi; \
		until [ -n "$$(find . \( -name node_modules -o -name data -o -name .git -o -name bin \) -prune -o \
			\( -name '*.go' -o -path './gateway/*dist/*' -o -name config.yaml -o -name .env \) -newer bin/.dev -print -quit)" ]; do sleep 1; done; \
	done

build: ## build bin/socketbridge
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X github.com/codewar/socketbridge/internal/buildinfo.Version=$(VERSION)' -o bin/socketbridge .

console: gateway/console/web/node_modules/.package-lock.json ## build the pages in gateway/console/web, which the binary embeds
	cd gateway/console/web && npm run build

client: gateway/console/web/node_modules/.package-lock.json ## copy the files of the stock JavaScript client, which the binary embeds
	rm -rf gateway/client-dist && mkdir gateway/client-dist
	cd gateway/console/web/node_modules/socket.io-client && cp dist/* LICENSE $(CURDIR)/gateway/client-dist/

test: deps vet race ## install what the tests need, check the sources, run all tests

# Tests that start bridges and browsers run after the others, one package at a time: beside each
# other they would wait for the processor longer than their limits allow.
race: ## run all tests with the race detector
	go test -race -timeout 12m $$(go list ./... | grep -v /e2e)
	go test -race -timeout 12m -p 1 ./e2e/...
	cd e2e/manifests && go test -count=1 ./... # its cache does not see files of another module

# Smallest inputs are not worth a minute each here, hence the last flag. A worker that is in the
# middle of an input when time is up may fail the target without a cause (golang/go#48591): once more then.
fuzz: ## run every fuzz target of FUZZPKGS (all), the whole endpoint among them, for FUZZTIME (a minute) each
	@set -e; log=$$(mktemp); trap 'rm -f $$log' EXIT; for pkg in $(FUZZPKGS); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$pkg/*_test.go); do \
			echo "== $$pkg $$name"; \
			run() { go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg | tee $$log; }; \
			run && ! grep -q '^FAIL' $$log || { grep -q 'context deadline exceeded' $$log && run && ! grep -q '^FAIL' $$log; } || exit 1; \
		done; \
	done

# Rows are listed by `go run ./e2e/chaos -list`.
chaos: deps ## break everything under load, on every topology, and prove that nothing is lost (35 minutes; rows: make chaos ROW='sentinel failover')
	go run ./e2e/chaos -run '$(ROW)'

attack: ## let hostile peers loose and see that nobody else notices (three minutes)
	go run ./e2e/attack

bench: deps bench/peer/node_modules/.package-lock.json ## run all benchmarks: of each stage, then bridge and Node service from outside (half an hour; one: make bench RUN=durable)
	go test -run '^$$' -bench . -benchmem ./...
	go run ./bench -n 5 -run '$(RUN)'

lint: vet ## vet, and golangci-lint at its pinned version
	$(LINT) run

# What only tests use is left out. Of gosec's rules four are, besides those that a
# line of the code is exempt from with its reason (#nosec):
# G104 errors unhandled: errcheck looks for these, and its exceptions have reasons in .golangci.yml
# G115 integer conversions: of lengths, counts and times; what comes from outside is bounded where it is decoded, and fuzzed
# G304 file named by a variable: every file that is read is named by whoever runs the process
# G404 weak random numbers: they spread retries and reconnects; ids and keys are crypto/rand's
audit: vuln ## staticcheck, gosec and govulncheck at their pinned versions
	$(STATIC) ./...
	$(GOSEC) -quiet -exclude=G104,G115,G304,G404 $(addprefix -exclude-dir=,e2e bench bridgetest certtest natstest redistest siotest testutil) ./...

# A machine that cannot reach vuln.go.dev says so and passes; a finding fails.
vuln: ## look for known vulnerabilities that the code reaches
	@out=$$($(VULN) ./... 2>&1); status=$$?; \
	case "$$status $$out" in \
	0*|*"govulncheck: fetching vulnerabilities: "*) ;; \
	*) printf '%s\n' "$$out"; exit 1;; \
	esac; \
	test $$status -eq 0 && printf '%s\n' "$$out" || echo "govulncheck: cannot reach the vulnerability database, nothing was checked"

check: ## exactly what CI runs
	.ci/run

# Formatting and vet.
vet:
	@out=$$(find . -name node_modules -prune -o -name '*.go' -print | xargs gofmt -l); \
		test -z "$$out" || { echo "not gofmt'd:"; echo "$$out"; exit 1; }
	go vet ./...

# A server for the store's tests, the Socket.IO clients of two languages, a browser, a proxy
# for it, and Prometheus for the alert rules.
deps: e2e/node_modules/.package-lock.json bench/peer/node_modules/.package-lock.json
	@{ command -v redis-server && command -v chromium && command -v nginx && command -v promtool && /usr/bin/python3 -c 'import socketio, requests, websocket, aiohttp'; } >/dev/null 2>&1 || { \
		$(SUDO) apt-get update && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
		redis-server chromium nginx-light prometheus python3-socketio python3-requests python3-websocket python3-aiohttp; }

e2e/node_modules/.package-lock.json: e2e/package-lock.json
	cd e2e && npm ci --no-audit --no-fund
	@touch $@

gateway/console/web/node_modules/.package-lock.json: gateway/console/web/package-lock.json
	cd gateway/console/web && npm ci --no-audit --no-fund
	@touch $@

bench/peer/node_modules/.package-lock.json: bench/peer/package-lock.json
	cd bench/peer && npm ci --no-audit --no-fund
	@touch $@
