#!/usr/bin/env bash
# `make image`: the program, statically linked, in an image that holds what it needs and a shell to look around with.
#   image/build.sh            builds the program and the image, with the engine that `docker` speaks to ($DOCKER_HOST)
#   image/build.sh program    builds the program alone
#
#   IMAGE_TAG       what the image is called (portreeve:latest)
#   IMAGE_PROFILE   the profile that Cargo builds with (ci: as a release, linked faster)
#   PORTREEVE_TEST_IMAGE=failpoints   an image whose program tests can stop in the middle of things: for tests alone
set -euo pipefail
cd "$(dirname "$0")/.."

tag=${IMAGE_TAG:-portreeve:latest}
profile=${IMAGE_PROFILE:-ci}
host=$(rustc -vV | sed -n 's/^host: //p')
what=${1:-image}

case $what in
    program | image) ;;
    *) echo "usage: image/build.sh [program]" >&2; exit 2 ;;
esac

# A program with debug assertions dies where a file tells it to. Nobody but a test may get one, by whatever profile it was built.
refuse_failpoints() {
    if [ "${PORTREEVE_TEST_IMAGE:-}" != failpoints ]; then
        echo "$1 has the points of tests in it: take another IMAGE_PROFILE" >&2
        exit 1
    fi
}
# Said before minutes of building.
if [ "$profile" = dev ]; then refuse_failpoints "a program of the profile dev"; fi

# Without --target the flags would reach procedural macros too, which cannot be static.
RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --quiet --bin portreeve \
    --profile "$profile" --target "$host" --target-dir target/static
directory=$profile
if [ "$profile" = dev ]; then directory=debug; fi
program=target/static/$host/$directory/portreeve

if grep -q PORTREEVE_FAILPOINT "$program"; then refuse_failpoints "$program"; fi
if [ "$what" = program ]; then exit; fi

# ldd fails on what is no dynamic executable; busybox must be Debian's busybox-static.
is_static() { ! ldd "$1" 2>/dev/null | grep -q '=>'; }
for needed in "$program" /bin/busybox; do
    if [ ! -x "$needed" ] || ! is_static "$needed"; then
        echo "$needed has to be there and statically linked (Debian: apt-get install busybox-static)" >&2
        exit 1
    fi
done

# What people look around with, by `docker exec`. Its wget is also the health check.
applets=(
    sh ash ls cat head tail less more grep egrep sed awk cut sort uniq wc tr xargs find stat du df free uptime date
    cp mv rm mkdir rmdir ln touch chmod chown tar gzip gunzip zcat sha256sum md5sum hexdump od cmp diff
    ps top kill pidof id whoami hostname uname env pwd basename dirname readlink realpath which
    echo printf test '[' true false sleep timeout watch vi wget nc netstat nslookup ping ip mount
)

umask 022
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
# mktemp makes it private, and it becomes the root directory of every container.
chmod 755 "$context"
mkdir -p "$context"/{bin,tmp,etc/ssl/certs,etc/docker/registry,etc/distribution,var/lib/registry,var/lib/portreeve,var/lib/portreeve-trust}

install -m 755 "$program" "$context/bin/portreeve"
install -m 755 /bin/busybox "$context/bin/busybox"
# The program behaves as the one that it is called by.
for name in registry auth htpasswd; do ln -s portreeve "$context/bin/$name"; done
for name in "${applets[@]}"; do ln -s busybox "$context/bin/$name"; done

install -m 644 /etc/ssl/certs/ca-certificates.crt "$context/etc/ssl/certs/ca-certificates.crt"
printf '%s\n' 'root:x:0:0:root:/:/bin/sh' 'portreeve:x:65532:65532:portreeve:/:/bin/sh' >"$context/etc/passwd"
printf '%s\n' 'root:x:0:' 'portreeve:x:65532:' >"$context/etc/group"
# People mount their configuration where version 2 of the stock registry had it, or where version 3 has it. Both are one file.
install -m 644 image/config.yml "$context/etc/docker/registry/config.yml"
ln -s ../docker/registry/config.yml "$context/etc/distribution/config.yml"

# A new volume takes its mode from the directory that it is mounted on: whatever uid the container runs as may write.
# What the program then makes there is its own uid's alone.
chmod 1777 "$context"/tmp "$context"/var/lib/{registry,portreeve,portreeve-trust}

# The builder of every engine: nothing here needs BuildKit, and Debian 12 has none.
DOCKER_BUILDKIT=0 docker build --quiet --tag "$tag" --file Dockerfile "$context"
docker image inspect --format "$tag: {{.Size}} bytes" "$tag"
