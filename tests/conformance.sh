#!/usr/bin/env bash
# `make conformance CONFORMANCE=/path/to/program`: the distribution specification's own program against `portreeve up`,
# with tokens, every switch on, version 1.1+dev. Passes when nothing failed and nothing was skipped or switched off; the
# program's exit status alone would forgive skips.
set -euo pipefail
cd "$(dirname "$0")/.."

program=${1:-}
if [ ! -x "$program" ]; then
    echo "usage: make conformance CONFORMANCE=/path/to/program (the specification's own, already built)" >&2
    exit 2
fi
cargo build --locked --quiet

data=$(mktemp -d)
REGISTRY_PORTREEVE_REFERENCES=lenient target/debug/portreeve up --listen 127.0.0.1:0 --data "$data/portreeve" >"$data/log" 2>&1 &
server=$!
ended() {
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    rm -rf "$data"
}
trap ended EXIT
for _ in $(seq 300); do
    [ -s "$data/portreeve/address" ] && [ -s "$data/portreeve/admin-password" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$data/log" >&2; exit 1; }
    sleep 0.1
done
address=$(<"$data/portreeve/address")
address=${address#http://}

mkdir "$data/results"
OCI_REGISTRY=${address%/} OCI_TLS=disabled OCI_VERSION=dev OCI_DATA_SPARSE=true OCI_RESULTS_DIR=$data/results \
    OCI_USERNAME=admin OCI_PASSWORD=$(<"$data/portreeve/admin-password") "$program" >"$data/output" || true

suites=$(grep -m 1 '<testsuites' "$data/results/junit.xml" || true)
count() { sed -n "s/.* $1=\"\([0-9]*\)\".*/\1/p" <<<"$suites"; }
tests=$(count tests) failures=$(count failures) errors=$(count errors) skipped=$(count skipped) disabled=$(count disabled)
echo "specification's program: ${tests:-0} results, ${failures:-0} failed, ${errors:-0} errors," \
    "${skipped:-0} skipped, ${disabled:-0} disabled"
if [ "${tests:-0}" = 0 ] || [ "${failures:-0}${errors:-0}${skipped:-0}${disabled:-0}" != 0000 ]; then
    sed -n '1,200p' "$data/output"
    exit 1
fi
