#!/usr/bin/env bash
# Runs a command with a Docker engine and a PostgreSQL cluster beside it, both with directories of their own, and ends
# them by their process ids. The command finds them by
#   PORTREEVE_TEST_DOCKER_HOST   unix:///…/docker.sock
#   PORTREEVE_TEST_POSTGRES      postgres://…
set -euo pipefail

work=$(mktemp -d /tmp/portreeve-services.XXXXXX)
chmod 755 "$work"
pids=()

ended() {
    local pid
    for pid in "${pids[@]}"; do
        # To PostgreSQL this means: do not wait for clients. To the engine it is the same as TERM.
        kill -INT "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    # Mounts that an engine has left behind would turn the removal into a removal of somebody's files.
    if ! grep -q " $work/" /proc/self/mounts; then
        rm -rf "$work"
    else
        echo "left in place, still mounted: $work" >&2
    fi
}
trap ended EXIT
trap 'exit 130' INT TERM

# until_ready NAME LOG COMMAND…: repeats the command until it succeeds, for a minute at most.
until_ready() {
    local name=$1 log=$2
    shift 2
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        sleep 0.1
    done
    echo "$name did not become ready:" >&2
    tail -n 40 "$log" >&2
    exit 1
}

start_docker() {
    local socket=$work/docker.sock
    # Networks of containers are the engine's own bridges, without firewall rules: nothing here leaves the machine.
    dockerd --data-root "$work/docker" --exec-root "$work/exec" --pidfile "$work/docker.pid" --host "unix://$socket" \
        --bridge none --iptables=false --ip6tables=false >"$work/docker.log" 2>&1 &
    pids+=($!)
    until_ready dockerd "$work/docker.log" docker --host "unix://$socket" version
    export PORTREEVE_TEST_DOCKER_HOST="unix://$socket"
}

# PostgreSQL refuses to run as root.
as_postgres=()
if [ "$(id -u)" = 0 ]; then as_postgres=(setpriv --reuid postgres --regid postgres --clear-groups); fi

# A port that nobody listens on now.
free_port() {
    local port
    while port=$((20000 + RANDOM % 20000)); (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

start_postgres() {
    local bin data=$work/postgres port
    bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1) || bin=$(dirname "$(command -v initdb)")
    mkdir "$data"
    if [ "$(id -u)" = 0 ]; then chown postgres "$data"; fi
    cd "$data"
    "${as_postgres[@]}" "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale C --no-sync >"$work/postgres.log"
    port=$(free_port)
    # What the tests look at is what is committed, not whether it outlives a power cut.
    "${as_postgres[@]}" "$bin/postgres" -D "$data" -k "$data" -p "$port" -c listen_addresses=127.0.0.1 \
        -c max_connections=400 -c fsync=off -c synchronous_commit=off -c full_page_writes=off >>"$work/postgres.log" 2>&1 &
    pids+=($!)
    cd - >/dev/null
    until_ready PostgreSQL "$work/postgres.log" "$bin/pg_isready" -h 127.0.0.1 -p "$port"
    export PORTREEVE_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/postgres"
}

start_docker
start_postgres
"$@"
