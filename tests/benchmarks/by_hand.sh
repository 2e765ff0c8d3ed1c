#!/bin/sh
# The vendor's guide by hand: its commands in its order, one host after another over ssh, for `bench.py` to time.
#
#   by_hand.sh SSH_CONFIG SNAPSHOT "HOST=IP HOST=IP …" "CONFIGURATION_SERVER HOST …"
#
# The second last argument lists the etcd servers by number, the last one all Deephaven hosts. Like a person at one
# terminal who never pauses, never mistypes and knows each next command: one login for each visit to a host, nothing at
# the same time, and no checks but those that the guide itself makes at its end. It is as fast as honest work by hand
# can be, and it is not a recovery tool: it takes no old data aside and proves nothing.
set -eu
umask 077

[ $# = 4 ] || { echo "usage: by_hand.sh SSH_CONFIG SNAPSHOT \"HOST=IP …\" \"DEEPHAVEN_HOST …\"" >&2; exit 2; }
config=$1 snapshot=$2 servers=$3 deephaven=$4
first=${deephaven%% *}
cluster_id=hand-$(date -u +%Y%m%dt%H%M%Sz)

# Both archives hold private keys and passwords: they rest on this machine no longer than the work takes.
carried=$(mktemp -d)
trap 'rm -rf "$carried"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# visit HOST [NAME=VALUE …]: one login; the commands, on standard input, run as root.
visit() {
    host=$1
    shift
    ssh -F "$config" "$host" "sudo -n env $* sh -eu"
}

# carry FILE HOST PATH: upload it, readable by its owner alone.
carry() {
    ssh -F "$config" "$2" "umask 077; cat >'$3'" <"$1"
}

step() {
    printf '%s by hand: %s\n' "$(date -u +%H:%M:%S)" "$1"
}

step "Step 1: everything off, the old etcd service away"
for host in $deephaven; do
    visit "$host" <<'END'
/usr/illumon/latest/bin/dh_monit down --block
END
done
for server in $servers; do
    visit "${server%%=*}" <<'END'
systemctl stop dh-etcd.service
systemctl disable dh-etcd.service
rm -f /etc/systemd/system/dh-etcd.service /usr/lib/systemd/system/dh-etcd.service
systemctl daemon-reload
END
done

step "Step 2: new configuration, with the old passwords"
etcd_ips=''
for server in $servers; do
    etcd_ips="${etcd_ips:+$etcd_ips }${server#*=}"
done
visit "$first" "cluster_id=$cluster_id" "'etcd_ips=$etcd_ips'" <<'END'
umask 077
client=/etc/sysconfig/deephaven/etcd/client
work=/root/etcd-passwords-$cluster_id
cp -a "$client" "$work"
/usr/illumon/latest/bin/config_generator.sh --cluster-id "$cluster_id" --ips "$etcd_ips"
mkdir "$work/unpacked"
tar -C "$work/unpacked" -xzf "/tmp/$cluster_id/dh_query.tgz"
for role in "$work/unpacked/client"/*/; do
    role=$(basename "$role")
    cp "$work/$role/password" "$work/unpacked/client/$role/password"
done
tar -C "$work/unpacked" -czf "/tmp/$cluster_id/dh_query.tgz" client
cp "$work/root/password" "$client/root/password"
rm -r "$work"
END
ssh -F "$config" "$first" sudo -n cat /etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz >"$carried/dh_etcd_config.tgz"
ssh -F "$config" "$first" sudo -n cat "/tmp/$cluster_id/dh_query.tgz" >"$carried/dh_query.tgz"

step "Step 3: both archives to the machines that need them"
number=0
for server in $servers; do
    host=${server%%=*} number=$((number + 1))
    carry "$carried/dh_etcd_config.tgz" "$host" /tmp/dh_etcd_config.tgz
    visit "$host" "number=$number" <<'END'
/usr/illumon/latest/bin/unpack_etcd_server.sh /tmp/dh_etcd_config.tgz "$number"
rm /tmp/dh_etcd_config.tgz
END
done
for host in $deephaven; do
    carry "$carried/dh_query.tgz" "$host" /tmp/dh_query.tgz
    visit "$host" "cluster_id=$cluster_id" <<'END'
/usr/illumon/latest/bin/unpack_etcd_client.sh /tmp/dh_query.tgz
rm -rf /tmp/dh_query.tgz "/tmp/$cluster_id"
END
done

step "Step 4: restore and start"
for server in $servers; do
    carry "$snapshot" "${server%%=*}" /tmp/etcd.snap
done
for server in $servers; do
    # --no-block: the unit is ready only once a second member runs, and the person has to go there first.
    visit "${server%%=*}" <<'END'
setting() {
    sed -n "s/^$1: *//p" /etc/etcd/dh/latest/config.yaml
}
data=$(setting data-dir)
ETCDCTL_API=3 "$(command -v etcdutl || command -v etcdctl)" snapshot restore /tmp/etcd.snap \
    --name "$(setting name)" --initial-cluster "$(setting initial-cluster)" \
    --initial-cluster-token "$(setting initial-cluster-token)" \
    --initial-advertise-peer-urls "$(setting initial-advertise-peer-urls)" --data-dir "$data"
chown -R etcd:etcd "$data"
rm /tmp/etcd.snap
systemctl enable dh-etcd.service
systemctl start --no-block dh-etcd.service
END
done

step "Step 5: the guide's checks, and everything on"
visit "$first" <<'END'
etcdctl=/usr/illumon/latest/bin/etcdctl.sh
tries=60
until "$etcdctl" endpoint health; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || exit 1
    sleep 1
done
"$etcdctl" get --prefix /main --keys-only | grep -c .
"$etcdctl" get --prefix /main/config/props --keys-only | grep -c .
END
for host in $deephaven; do
    visit "$host" <<'END'
/usr/illumon/latest/bin/dh_monit up --block
END
done
step "done"
