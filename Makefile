# `make help` lists what there is to do.
.DEFAULT_GOAL := help
SHELL := bash
FUZZ_SECONDS ?= 60

.PHONY: help run test lint test-unit test-it test-grpc doc load bench release-pgo fuzz coverage

help: ## list these targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## build and start the booking system: five services and the gateway on 127.0.0.1:3000
	cargo run --release -- demo

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

load: ## a bounded load on loopback: the gateway alone, with wrk and h2load
	.ci/install load
	cargo build --quiet --release --workspace
	python3 benches/compare/compare.py --only transom --repetitions 2

bench: ## codec and instruction counts, then the gateway beside Envoy and the floor
	.ci/install load
	.ci/install envoy
	cargo bench --package transom-benches --bench codec
	cargo bench --package transom-benches --bench routes
	@if command -v valgrind >/dev/null; then \
	  .ci/install instructions && cargo bench --package transom-benches --bench instructions; \
	else echo "without valgrind: instruction counts are left out"; fi
	cargo build --quiet --release --workspace
	python3 benches/compare/compare.py

release-pgo: ## target/pgo/transom, laid out by how it runs: a seventh fewer instructions a call, two builds
	.ci/install load
	.ci/install pgo
	python3 benches/pgo.py

fuzz: ## each fuzz target for FUZZ_SECONDS (60); needs a nightly toolchain and cargo-fuzz
	@for target in $$(ls fuzz/fuzz_targets | sed 's/\.rs$$//'); do \
	  cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 || exit 1; \
	done

coverage: ## line coverage of the tests, as HTML in coverage/
	cargo llvm-cov --version >/dev/null 2>&1 || cargo install --locked cargo-llvm-cov
	cargo llvm-cov --html --output-dir coverage
