# One word for each thing people do here. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help run test check fmt lint schema deny soak bench

help: ## List these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## Build and start the server with demo data on http://127.0.0.1:8080
	cargo run --release -- serve --demo

test: ## Every test, on SQLite and PostgreSQL; starts its own scratch servers
	cargo test --workspace

check: fmt lint schema test deny ## Everything a change must pass

fmt: ## Is the code formatted?
	cargo fmt --all --check

lint: ## Clippy, warnings denied, and the documentation
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

schema: ## Is schema.graphql what the code says?
	cargo run --quiet -- schema | diff -u schema.graphql - || (echo "run: cargo run -- schema > schema.graphql" && exit 1)

deny: ## Licences, advisories and unused dependencies, with the tools that are installed
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "cargo-deny is not installed: cargo install cargo-deny"; fi
	@if command -v cargo-machete >/dev/null; then cargo machete; else echo "cargo-machete is not installed: cargo install cargo-machete"; fi

soak: ## The long versions of the tests with crashes, crowds and several instances
	TRIBUTARY_SOAK=1 cargo test --release --test it -- --nocapture soak crash crowd instances

bench: ## Measure; writes benches/results/*.json
	cargo bench --bench ingest
	cargo bench --bench value
	cargo bench --bench identity
	cargo bench --bench view
	cargo bench --bench refresh
