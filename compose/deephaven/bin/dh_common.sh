#!/bin/sh
# Stand-in for Deephaven's proprietary tools: what the lab's stand-ins share. Sourced, never run.
# shellcheck disable=SC2034  # the variables are for the scripts that source this file

DH_CONFIG_ROOT=/etc/sysconfig/deephaven/etcd
DH_CLIENT_ROOT=$DH_CONFIG_ROOT/client
DH_ADMIN=irisadmin
DH_ROLES="acl-ro acl-rw authentication-server controller datarouting-ro datarouting-rw props-ro props-rw schema schema-ro"
ETCD_CONFIG_ROOT=/etc/etcd/dh
ETCD_DATA_ROOT=/var/lib/etcd/dh

# Whose a role's files are: the admin account's, or where the lab wants three accounts, that of the process that uses it.
account_of() {
    case $([ ! -e /var/lib/requorum-lab/accounts ] || echo "$1") in
        props-ro) echo dbquery ;;
        datarouting-rw) echo dbmerge ;;
        *) echo "$DH_ADMIN" ;;
    esac
}

# Whether the lab wants users who have client certificates and no passwords.
by_certificates() { [ -e /var/lib/requorum-lab/certificates ]; }

# Everything these tools write is a secret until it is given a wider mode on purpose.
umask 077

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "must run as root; use sudo"
}

# A cluster ID becomes a directory name and an etcd token: nothing in it may lead elsewhere.
check_cluster_id() {
    case $1 in
        '' | .* | -* | *[!A-Za-z0-9._-]*)
            die "cluster ID '$1' is not usable; use letters, digits, '.', '_' and '-'" ;;
    esac
}

# Refuses an archive whose members could land outside the directory it is unpacked in.
check_archive() {
    [ -f "$1" ] || die "no archive at $1"
    names=$(tar -tzf "$1") || die "$1 is not a whole gzip-compressed tar archive"
    [ -n "$names" ] || die "$1 is empty"
    if printf '%s\n' "$names" | grep -Eq '^/|(^|/)\.\.(/|$)'; then
        die "$1 holds an absolute or escaping path; nothing was unpacked"
    fi
    if tar -tvzf "$1" | grep -Eqv '^[-d]'; then
        die "$1 holds something that is neither a file nor a directory; nothing was unpacked"
    fi
}

# install_file SOURCE TARGET MODE OWNER: a reader sees the old file or the new one, never half of it.
install_file() {
    install -m "$3" -o "${4%%:*}" -g "${4##*:}" "$1" "$2.new.$$"
    mv -fT "$2.new.$$" "$2"
}

# install_client SOURCE_DIR ROLE: put one role's client configuration in place.
install_client() {
    install -d -m 0755 "$DH_CONFIG_ROOT"
    install -d -m 0755 -o "$DH_ADMIN" -g "$DH_ADMIN" "$DH_CLIENT_ROOT"
    account=$(account_of "$2")
    install -d -m 0700 -o "$account" -g "$account" "$DH_CLIENT_ROOT/$2"
    proofs=password
    ! by_certificates || proofs="client.crt client.key"
    for name in endpoints user $proofs ca.crt; do
        [ -f "$1/$name" ] || die "the configuration of role $2 lacks the file $name"
        install_file "$1/$name" "$DH_CLIENT_ROOT/$2/$name" 0600 "$account:$account"
    done
}
