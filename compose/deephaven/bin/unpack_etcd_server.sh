#!/bin/sh
# Stand-in for Deephaven's proprietary command that unpacks the etcd server configuration.
#
#   unpack_etcd_server.sh ARCHIVE NUMBER
#
# Puts server NUMBER's files into /etc/etcd/dh/ID, points /etc/etcd/dh/latest at it and installs
# dh-etcd.service. It neither enables nor starts the unit.
set -eu
bin=$(dirname "$(readlink -f "$0")")
# shellcheck source=compose/deephaven/bin/dh_common.sh
. "$bin/dh_common.sh"

[ $# = 2 ] || die "usage: unpack_etcd_server.sh ARCHIVE NUMBER"
archive=$1 number=$2
need_root
case $number in
    '' | 0* | *[!0-9]*) die "'$number' is not a server number; servers are counted from 1" ;;
esac
check_archive "$archive"
cluster_id=$(tar -tzf "$archive" | cut -d/ -f1 | sort -u)
check_cluster_id "$cluster_id"
tar -tzf "$archive" | grep -Fqx "$cluster_id/server-$number/config.yaml" ||
    die "$archive has no server $number"

install -d -m 0755 "$ETCD_CONFIG_ROOT"
work=$(mktemp -d "$ETCD_CONFIG_ROOT/.unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
tar -C "$work" --no-same-owner -xzf "$archive" "$cluster_id/server-$number"

install -d -m 0750 -o root -g etcd "$ETCD_CONFIG_ROOT/$cluster_id"
for file in "$work/$cluster_id/server-$number"/*; do
    install_file "$file" "$ETCD_CONFIG_ROOT/$cluster_id/${file##*/}" 0640 root:etcd
done
install_file "$ETCD_CONFIG_ROOT/$cluster_id/dh-etcd.service" \
    /usr/lib/systemd/system/dh-etcd.service 0644 root:root
ln -sfn "$cluster_id" "$ETCD_CONFIG_ROOT/latest"
systemctl daemon-reload
printf 'Unpacked server %s of %s.\n' "$number" "$cluster_id"
