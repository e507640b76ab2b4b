# Each target prints what it does. What stands behind them lies under tests/: the top level is kept for what a visitor looks for
# (Cargo.toml src/ connectors/ docker/ tests/ deploy/ README.md), and a demo that proves equality is a test.
SHELL := /bin/bash
# Integration tests mostly wait for servers, so more of them at a time than there are cores.
export RUST_TEST_THREADS ?= 3

.PHONY: help demo test test-all sim bench lint clean packages
help:
	@echo "make demo    two PostgreSQL servers, live traffic, tables lifted, two SIGKILLs, equality proven (DEMO_LOG=kafka: through a broker)"
	@echo "make test    rustfmt, clippy, doc links, then every test on real PostgreSQL and Kafka that it starts itself;"
	@echo "             then the core of them on the oldest and the newest PostgreSQL"
	@echo "make test-all   from each PostgreSQL to each, 14 to 18, into tests/VERSIONS.md: hours (PAIRS=\"18:14 14:18\": these only)"
	@echo "make sim     simulated schedules without end, or one: SEED=7 (TRACE=1 tells each statement)"
	@echo "make bench   the figures, side by side with native replication and the peers that are found, into BENCHMARKS.md"
	@echo "make lint    rustfmt, clippy, doc links"
	@echo "make clean   removes what was built and fetched"

demo:
	@echo "== demo: packages that are missing (PostgreSQL, what the build needs), then tests/demo/run.sh"
	@tests/servers/packages.sh pg build
	@tests/demo/run.sh

test: packages lint
	@echo "== tests: unit, tidy, property, integration on servers of their own"
	@tests/servers/kafka.sh fetch
	cargo test --no-fail-fast
	@echo "== tests: the core from PostgreSQL 13 to 18, 14 to 14, 18 to 18"
	@tests/versions.sh core

test-all: packages
	@echo "== tests: from each version of PostgreSQL to each; the table in tests/VERSIONS.md"
	@tests/servers/kafka.sh fetch
	@tests/versions.sh $(PAIRS)

# A hundred thousand at a time, from a place that no run has been at before.
sim:
	@echo "== simulation: schedules until one fails; a seed that is printed runs again the same"
ifdef SEED
	@SEED=$(SEED) cargo test --lib -- sim::schedules --nocapture
else
	@while FROM=$$(date +%s)000000 SCHEDULES=100000 cargo test --lib -- sim::schedules --nocapture; do :; done
endif

bench: packages
	@echo "== bench: tests/bench/run.sh"
	@tests/bench/run.sh

lint:
	@echo "== rustfmt, clippy with warnings denied, doc links"
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

clean:
	@echo "== removing target/ and .tools/"
	cargo clean
	rm -rf .tools
	if [ -O /var/tmp/tablelift-postgres ]; then rm -rf /var/tmp/tablelift-postgres; fi

packages:
	@echo "== packages: PostgreSQL, Java and Maven for the broker, what the build needs; only what is missing"
	@tests/servers/packages.sh
