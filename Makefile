# Every command a reader needs, on Linux. `make demo` and `make test` want nothing but git, make, a C
# compiler and Rust: .ci/install-tools brings the rest, and says so first. What Cargo does alone is left to it.

# Where Rust and the tests' broker are, when a plain user's shell does not look there.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/sbin:/usr/sbin

# Passed on: `make demo ARGS='--clients 1000 --calm'`, `make test ARGS=model::`.
ARGS ?=
# How often `make chaos` repeats each fault.
ROUNDS ?= 50
# How long it sends random packets, in seconds.
SOAK ?= 60

# Tests mostly wait, for brokers, clocks and each other: several a core keep it busy.
export RUST_TEST_THREADS ?= $(shell echo $$((4 * $$(nproc))))

# A client is an open file, and so is its other end in the broker that a test starts: ask for many.
MANY_FILES := ulimit -S -n 65536 2>/dev/null || ulimit -S -n "$$(ulimit -H -n)" 2>/dev/null || true

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: build-tools ## a live fleet of 200 clients with its own broker and trouble (ARGS='--clients 1000')
	cargo run --locked --release -- demo $(ARGS)

.PHONY: test
test: test-tools ## every test, in their short form (ARGS=name runs those named so)
	$(MANY_FILES); cargo test --locked $(ARGS)

.PHONY: brokers
brokers: test-tools ## what is said at seven makes of brokers, as a table; installs those that are missing, some minutes
	@.ci/install-brokers
	$(MANY_FILES); cargo test --locked --test connections -- --include-ignored --nocapture --test-threads=4 $(or $(ARGS),brokers::)

.PHONY: chaos
chaos: test-tools ## the fault tests in their long form, some minutes (ROUNDS=50)
	$(MANY_FILES); MQFLEET_ROUNDS=$(ROUNDS) cargo test --locked --release --test fleet --test worker --test recording --test agent --test release -- --nocapture --test-threads=1 $(ARGS)
	$(MANY_FILES); MQFLEET_ROUNDS=$(ROUNDS) cargo test --locked --release --test connections -- --nocapture --test-threads=1 $(or $(ARGS),ways::)
	$(MANY_FILES); MQFLEET_SECONDS=$(SOAK) cargo test --locked --release --test worker -- --ignored --nocapture $(or $(ARGS),hostile::)

# rustix would read a vDSO that valgrind hides.
.PHONY: valgrind
valgrind: test-tools ## random packets against a whole worker under valgrind (SOAK=seconds)
	$(MANY_FILES); RUSTFLAGS='--cfg rustix_use_libc' MQFLEET_SECONDS=$(SOAK) MQFLEET_TEST_WORKER='valgrind --error-exitcode=99 --leak-check=no -q' \
		cargo test --locked --release --target-dir target/valgrind --test worker -- --ignored --nocapture hostile::random

.PHONY: bench
bench: test-tools ## speed, memory and CPU on this machine, printed; one alone: cargo bench --bench scale
	$(MANY_FILES); cargo bench --locked --bench '*' -- $(ARGS)

.PHONY: screenshots
screenshots: test-tools ## writes screenshots/ anew, from real screens
	MQFLEET_SCREENSHOTS=write cargo test --locked --test ui screenshots

.PHONY: fmt
fmt: ## formats the code
	cargo fmt --all

.PHONY: lint
lint: build-tools ## what CI refuses: other formatting, warnings
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings

.PHONY: install
install: build-tools ## mqfleet into Cargo's bin folder
	cargo install --locked --path .

.PHONY: clean
clean: ## removes what was built
	cargo clean

.PHONY: build-tools test-tools
build-tools:
	@.ci/install-tools
test-tools:
	@.ci/install-tools --tests
