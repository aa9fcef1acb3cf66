# `make test` is the whole check. It needs Rust; everything else it installs (Debian, as root) and starts itself.

SHELL := /bin/bash

.PHONY: help test check conformance image bench openapi
.DEFAULT_GOAL := help

help:
	@echo 'make test         install what is missing, check everything, run every test'
	@echo 'make check        formatting, lints, documentation and the tests that need nothing but Rust'
	@echo 'make image        a container image of a static program (IMAGE_TAG, IMAGE_PROFILE, DOCKER_HOST)'
	@echo 'make conformance CONFORMANCE=/path/to/program'
	@echo '                  run the distribution specification'"'"'s own program against this registry'
	@echo 'make openapi      write docs/openapi, which tests compare with the admin API'
	@echo 'make bench        processor time per operation, beside Debian'"'"'s docker-registry and nginx where they are installed'

test:
	tests/run.sh everything

check:
	tests/run.sh rust-only

conformance:
	tests/conformance.sh "$(CONFORMANCE)"

openapi:
	PORTREEVE_WRITE_OPENAPI=yes cargo test --package portreeve-auth --package portreeve-registry --lib -- the_document_for_other_languages

bench:
	cargo build --release --package portreeve --package portreeve-bench
	target/release/portreeve-bench

image:
	image/build.sh
