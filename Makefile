# `make help` lists what there is to do.
.DEFAULT_GOAL := help
SHELL := bash
FUZZ_SECONDS ?= 60

.PHONY: help run test lint test-unit test-it test-grpc doc release install load compared bench profile fuzz coverage

help: ## list these targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## build and start the booking system: five services and the gateway on 127.0.0.1:3000
	release/cargo run --release --package transom -- demo

test: ## everything CI runs: installs what is missing, then format, lints, docs, tests
	.ci/install test
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory doc
	cargo test --quiet

lint: ## rustfmt and clippy, warnings are errors; benchmarks and fuzz targets too
	cargo fmt --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	cargo check --quiet --no-default-features
	@if command -v c++ >/dev/null; then \
	  cargo check --quiet --manifest-path fuzz/Cargo.toml --bins; \
	else echo "without a C++ compiler: the fuzz targets are not looked at"; fi

test-unit: ## the tests beside the code, and the transcoder's properties
	cargo test --quiet --workspace --lib
	cargo test --quiet -p transom-transcode

test-it: ## the whole gateway over real sockets
	.ci/install test
	cargo test --quiet --test it

test-grpc: ## gRPC through the gateway, with real clients
	.ci/install test
	cargo test --quiet --test it grpc

doc: ## API documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --workspace --document-private-items

release: ## target/release/transom as it is shipped: by the profile of what calls do
	release/cargo build --release --locked --package transom

install: ## the same build as the `transom` command, where cargo puts commands
	release/cargo install --locked --path .

load: ## a bounded load on loopback: the gateway alone, with wrk and h2load
	.ci/install load
	$(MAKE) --no-print-directory compared
	python3 benches/compare/compare.py --only transom --repetitions 2

# The gateway as it is shipped, and plain what it is compared with.
compared:
	cargo build --quiet --release --locked --package transom-benches --bins
	$(MAKE) --no-print-directory release

bench: ## codec and instruction counts, then the gateway beside Envoy and the floor
	.ci/install load
	.ci/install envoy
	cargo bench --package transom-benches --bench codec
	cargo bench --package transom-benches --bench routes
	@if command -v valgrind >/dev/null; then \
	  .ci/install instructions && cargo bench --package transom-benches --bench instructions; \
	else echo "without valgrind: instruction counts are left out"; fi
	$(MAKE) --no-print-directory compared
	python3 benches/compare/compare.py

profile: ## release/ anew: what calls do, counted in a build of its own, and where its functions lie
	.ci/install load
	.ci/install profile
	python3 benches/training.py
	$(MAKE) --no-print-directory compared
	python3 benches/layout.py

fuzz: ## each fuzz target for FUZZ_SECONDS (60); needs a nightly toolchain and cargo-fuzz
	@for target in $$(ls fuzz/fuzz_targets | sed 's/\.rs$$//'); do \
	  cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 || exit 1; \
	done

coverage: ## line coverage of the tests, as HTML in coverage/
	cargo llvm-cov --version >/dev/null 2>&1 || cargo install --locked cargo-llvm-cov
	cargo llvm-cov --html --output-dir coverage
