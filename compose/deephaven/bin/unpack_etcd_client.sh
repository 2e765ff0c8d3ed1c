#!/bin/sh
# Stand-in for Deephaven's proprietary command that unpacks the etcd client configuration.
#
#   unpack_etcd_client.sh ARCHIVE
#
# Replaces the client configuration of every role in the archive; other roles stay as they are.
set -eu
bin=$(dirname "$(readlink -f "$0")")
# shellcheck source=compose/deephaven/bin/dh_common.sh
. "$bin/dh_common.sh"

[ $# = 1 ] || die "usage: unpack_etcd_client.sh ARCHIVE"
archive=$1
need_root
check_archive "$archive"
install -d -m 0755 "$DH_CONFIG_ROOT"
work=$(mktemp -d "$DH_CONFIG_ROOT/.unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
tar -C "$work" --no-same-owner -xzf "$archive"
[ -d "$work/client" ] ||
    die "$archive is not a query package: it has no directory client/"
[ -n "$(find "$work/client" -mindepth 1 -maxdepth 1 -type d)" ] || die "$archive holds no role"
for dir in "$work/client"/*/; do
    role=${dir%/}
    install_client "$role" "${role##*/}"
done
printf 'Unpacked the client configuration of:'
for dir in "$work/client"/*/; do
    role=${dir%/}
    printf ' %s' "${role##*/}"
done
printf '\n'
