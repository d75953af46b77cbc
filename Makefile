# Everything that a developer or CI runs. `make` alone prints this list.

BIN      := $(CURDIR)/bin
GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
LINT     := $(BIN)/golangci-lint
# The compiler finds the profile of the agent by itself, but not for benchmarks.
PROFILE  := -pgo=$(CURDIR)/cmd/agent/default.pgo

export CGO_ENABLED ?= 1

.DEFAULT_GOAL := help

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/winch
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/winch ./cmd/agent

.PHONY: test
test: ## run all tests, against a real PostgreSQL that they start themselves
	$(GO) test -shuffle=on ./...

.PHONY: test-postgres
test-postgres: ## run the PostgreSQL sink's tests on every supported version, fetched if need be
	./scripts/postgres.sh 13 14 15 16 17 18

.PHONY: test-installed
test-installed: ## the same on the other versions that this machine has, and say which ran
	./scripts/postgres.sh --installed

.PHONY: test-pooler
test-pooler: ## run the PostgreSQL sink's suite through PgBouncer, installed if need be
	./scripts/pooler.sh

.PHONY: test-race
test-race: ## run all tests under the race detector
	$(GO) test -race -shuffle=on ./...

.PHONY: fmt
fmt: $(LINT) ## format the code
	$(LINT) fmt ./...

.PHONY: lint
lint: $(LINT) ## check format and style
	$(LINT) run ./...

.PHONY: generate
generate: ## write generated code and golden files again
	$(GO) generate ./...

.PHONY: check
check: build lint test-race test-installed ## build, lint, tests with race detector, on every PostgreSQL found

.PHONY: bench
bench: ## measure the pipeline against PostgreSQL's own floor, SQLite against its own, and what telemetry costs, in one run
	$(GO) test $(PROFILE) -run '^$$' -bench . -skip Scale -benchtime 1x -timeout 60m ./internal/bench
	$(GO) test $(PROFILE) -run '^$$' -bench 'Sink/.*/100000$$' -benchtime 1x -timeout 60m ./internal/sink/sqlite

.PHONY: browser
browser: ## look at the sandbox's page in a real browser: chromium, or the one in WINCH_BROWSER
	$(GO) test -count 1 -tags browser -run InABrowser ./internal/sandbox

.PHONY: vendors
vendors: ## land every vendor's account through every fault, and print what it took
	$(GO) test -run '^$$' -bench '^BenchmarkVendors$$' -benchtime 1x -timeout 60m ./cmd/agent

.PHONY: kill
kill: ## kill agent, plugins and PostgreSQL at random moments, 200 times each store (WINCH_TEST_KILLS, WINCH_TEST_KILL_SEED)
	WINCH_TEST_KILLS=$${WINCH_TEST_KILLS:-200} $(GO) test -count=1 -v -run '^TestKills$$' -timeout 120m ./cmd/agent

.PHONY: bench-parts
bench-parts: ## measure splitting, decoding, encoding and the boundary, each alone
	$(GO) test $(PROFILE) -run '^$$' -bench 'ArrayOfRecords|Elements|Decode|Encode|Pull' -benchmem ./internal/jsonscan ./internal/record ./internal/sink/postgres ./internal/plugin

.PHONY: bench-against
bench-against: ## measure new rows with an older tree, OLD (a commit), and with this one, in turn (TIMES=8)
	./scripts/bench-against.sh $(OLD) $(TIMES)

.PHONY: profile
profile: ## record where pulls spend their time, for the compiler (cmd/agent/default.pgo)
	./scripts/profile.sh

.PHONY: bench-sink
bench-sink: ## measure writers side by side, and tables that could be slow, against PostgreSQL's own floor
	$(GO) test -run '^$$' -bench 'Writers|Shapes' -benchtime 2x -timeout 60m ./internal/sink/postgres

.PHONY: bench-plan
bench-plan: ## measure planning 1,000 streams x 5 years of days, and the size of the ledger
	$(GO) test -run '^$$' -bench 'Plan|LedgerSize' -benchtime 1x ./internal/ledger ./internal/sink/postgres ./internal/sink/sqlite

.PHONY: scale
scale: ## measure 1,000 sources due at one moment with 1, 2 and 4 agents (WINCH_SCALE_SOURCES=1000)
	$(GO) test $(PROFILE) -run '^$$' -bench Scale -benchtime 1x -timeout 60m ./internal/bench

.PHONY: takeover
takeover: ## strike agents that serve one database, at random, and see that others go on (TAKEOVER_ROUNDS=20)
	$(GO) test -run '^$$' -bench TakeOver -benchtime 1x -timeout 60m ./cmd/agent

.PHONY: neighbours
neighbours: ## let agents of an older winch, OLD (a commit), and of this tree serve one database
	./scripts/neighbours.sh $(OLD)

.PHONY: fuzz
fuzz: ## run each fuzz target for a while (FUZZTIME=30s)
	@./scripts/fuzz.sh $(or $(FUZZTIME),30s)

.PHONY: clean
clean: ## delete what was built
	rm -rf $(BIN)

# The linter is pinned in tools/go.mod and built through the module proxy.
$(LINT): tools/go.mod tools/go.sum
	cd tools && $(GO) build -o $(LINT) github.com/golangci/golangci-lint/v2/cmd/golangci-lint
