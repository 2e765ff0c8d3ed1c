#!/bin/sh
# What a restored snapshot holds: read_back.sh SNAPSHOT SCRATCH LOGIN PREFIX prints the keys below PREFIX.
#
# Run as root on a machine of the lab. LOGIN holds root's `user` and `password`. The snapshot, or a member's bare
# database, is restored into SCRATCH with its hash skipped, and booted there as a cluster of one.
set -eu
snapshot=$1 scratch=$2 login=$3 prefix=$4
client=http://127.0.0.1:23790 peer=http://127.0.0.1:23800

rm -rf "$scratch"
mkdir -p "$scratch"
ETCDCTL_API=3 "$(command -v etcdutl || command -v etcdctl)" snapshot restore "$snapshot" --skip-hash-check \
    --name bench --initial-cluster "bench=$peer" --initial-advertise-peer-urls "$peer" \
    --data-dir "$scratch/data" >"$scratch/restore.log" 2>&1 || {
    tail -n 1 "$scratch/restore.log" >&2
    exit 1
}
etcd --name bench --data-dir "$scratch/data" --initial-cluster "bench=$peer" --initial-advertise-peer-urls "$peer" \
    --listen-peer-urls "$peer" --listen-client-urls "$client" --advertise-client-urls "$client" \
    >"$scratch/etcd.log" 2>&1 &
trap 'kill -KILL $! 2>/dev/null; rm -rf "$scratch"' EXIT

ETCDCTL_API=3 ETCDCTL_ENDPOINTS=$client ETCDCTL_USER=$(cat "$login/user") ETCDCTL_PASSWORD=$(cat "$login/password")
export ETCDCTL_API ETCDCTL_ENDPOINTS ETCDCTL_USER ETCDCTL_PASSWORD
deadline=$(($(date +%s) + 60))
until etcdctl get /none >/dev/null 2>"$scratch/etcdctl.log"; do
    [ "$(date +%s)" -lt "$deadline" ] || {
        tail -n 1 "$scratch/etcdctl.log" >&2
        exit 1
    }
    sleep 0.2
done
etcdctl get --prefix "$prefix" --keys-only
