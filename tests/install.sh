#!/usr/bin/env bash
# Installs the programs that the tests run, where they are missing: Debian's packages as root, and with Go 1.25 or newer
# what Debian does not carry: clients, and a newer stranger. Says what it lacks and fails where it may not install.
set -euo pipefail
cd "$(dirname "$0")/.."

# program:package
programs=(
    cc:build-essential dockerd:docker.io docker:docker-cli skopeo:skopeo podman:podman buildah:buildah
    docker-registry:docker-registry htpasswd:apache2-utils docker-compose:docker-compose openssl:openssl curl:curl strace:strace
    ldapmodify:ldap-utils /usr/sbin/nginx:nginx-light
)
missing=()
for entry in "${programs[@]}"; do
    command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
done
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
# Statically linked, so that it runs in an image that holds nothing else.
[ -e /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1 || missing+=(busybox-static)
[ -x /usr/sbin/slapd ] || missing+=(slapd)
if [ ! -x /usr/sbin/samba ] || ! command -v samba-tool >/dev/null; then
    missing+=(samba samba-ad-dc samba-ad-provision samba-dsdb-modules samba-vfs-modules winbind)
fi
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)

if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing, and only root on Debian can install them: ${missing[*]}" >&2
        exit 1
    fi
    echo "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # The tests start their own cluster; Debian's is neither needed nor wanted.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    # Neither is Debian's directory: what it asks when it is installed is answered, and nothing is started.
    if command -v debconf-set-selections >/dev/null; then
        echo 'slapd slapd/no_configuration boolean true' | debconf-set-selections
    fi
    # Nothing that is installed here is started by its installation: the tests start what they need, on ports of their own.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt-get update -qq
    # Where the client is no package of its own (Debian 12), docker.io brings it.
    available=()
    for package in "${missing[@]}"; do
        if [ "$package" != docker-cli ] || apt-cache show docker-cli >/dev/null 2>&1; then
            available+=("$package")
        fi
    done
    apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "${available[@]}" >/dev/null
    if [ -n "$(trap -p EXIT)" ]; then
        rm -f "$policy"
        trap - EXIT
    fi
fi

go_is_new_enough() {
    command -v go >/dev/null || return 1
    local version
    version=$(go env GOVERSION)
    version=${version#go}
    [ "$(printf '%s\n1.25\n' "$version" | sort -V | head -n 1)" = 1.25 ]
}

# program=package@version
go_programs=(
    crane=github.com/google/go-containerregistry/cmd/crane@v0.22.1
    helm=helm.sh/helm/v3/cmd/helm@v3.22.0
    regctl=github.com/regclient/regclient/cmd/regctl@v0.11.7
    registry=github.com/distribution/distribution/v3/cmd/registry@v3.1.2
)
if go_is_new_enough; then
    for entry in "${go_programs[@]}"; do
        if [ ! -x "target/tools/bin/${entry%%=*}" ]; then
            echo "building ${entry#*=}"
            GOBIN="$PWD/target/tools/bin" GOFLAGS=-mod=mod go install "${entry#*=}"
        fi
    done
else
    echo "no Go 1.25 or newer: the tests of crane, helm, regctl and Distribution 3 will not run"
fi
