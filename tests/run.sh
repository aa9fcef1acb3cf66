#!/usr/bin/env bash
# `make test` and `make check`: what must hold, in the order in which failures are cheapest to see.
#   tests/run.sh everything   installs and starts what the tests need, and runs the ignored ones too
#   tests/run.sh rust-only    what passes on a machine that has Rust and nothing else
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n=== %s\n' "$*"; "$@"; }
took() { echo "took $((SECONDS / 60)) min $((SECONDS % 60)) s"; }

if [ "${1:-}" != rust-only ] && [ "${1:-}" != everything ]; then
    echo "usage: tests/run.sh everything|rust-only" >&2
    exit 2
fi

skipped=
if [ "$1" = everything ]; then
    step tests/install.sh
    # The tools that Go builds lie here; tests that need them are the only ones that may be left out, and by name.
    export PATH="$PWD/target/tools/bin:$PATH"
    # program:tests
    for entry in crane:crane helm:helm regctl:regctl registry:distribution; do
        tool=${entry#*:}
        command -v "${entry%%:*}" >/dev/null || skipped="${skipped:+$skipped, }$tool"
    done
fi

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
RUSTDOCFLAGS='-D warnings' step cargo doc --workspace --no-deps --locked --quiet
step cargo test --workspace --doc --locked --quiet

if [ "$1" = rust-only ]; then
    step cargo test --workspace --lib --bins --tests --locked
    took
    exit
fi

report=$(mktemp)
trap 'rm -f "$report"' EXIT
export PORTREEVE_TEST_REPORT="$report"
# Long enough for what happens once in ten thousand times; without it the stress tells a few seconds.
export PORTREEVE_STRESS_SECONDS=60
arguments=(--include-ignored)
for tool in ${skipped//,/}; do
    arguments+=(--skip "needs_go::$tool")
done
# Built before the services start, so that a broken build is not looked at through theirs. The program of the image is
# another build: it is static.
step cargo test --workspace --lib --bins --tests --locked --no-run
PORTREEVE_TEST_IMAGE=failpoints IMAGE_PROFILE=dev step image/build.sh program
step tests/with_services.sh cargo test --workspace --lib --bins --tests --locked --no-fail-fast -- "${arguments[@]}"

printf '\n'
sort -u "$report"
# What installing and building took is in it; what was left out stays the last line.
took
if [ -n "$skipped" ]; then
    echo "not run: $skipped (no go)"
fi
