#!/bin/sh
# Stand-in for Deephaven's proprietary config_generator.sh: the configuration of a new etcd cluster.
#
#   config_generator.sh --cluster-id ID --ips "IP1 IP2 IP3"
#
# Runs as root on the configuration server. Writes
#   /etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz   ID/server-N/…, for the etcd servers
#   /tmp/ID/dh_query.tgz                               client/ROLE/…, for every Deephaven machine
#   /etc/sysconfig/deephaven/etcd/client/root/         this machine's own root client
# with a new CA, new certificates and NEW passwords. It starts nothing and asks no running etcd.
set -eu
bin=$(dirname "$(readlink -f "$0")")
# shellcheck source=compose/deephaven/bin/dh_common.sh
. "$bin/dh_common.sh"

DAYS=3650

usage() {
    die "usage: config_generator.sh --cluster-id ID --ips \"IP1 IP2 IP3\""
}

check_ips() {
    [ -n "$1" ] || usage
    for ip in $1; do
        printf '%s\n' "$ip" | grep -Eq '^([0-9]{1,3}\.){3}[0-9]{1,3}$' ||
            die "'$ip' is not an IPv4 address"
    done
    twice=$(printf "%s" "$1" | tr -s " " "\n" | sort | uniq -d)
    [ -z "$twice" ] || die "address $twice is given twice"
}

# OpenSSL's own configuration would make every certificate a CA, so it gets one of ours.
# Python 3.13 rejects a CA without keyUsage.
write_openssl_config() {
    cat >"$work/openssl.cnf" <<END
[req]
distinguished_name = name
prompt = no
[name]
O = Deephaven lab $cluster_id
CN = \${ENV::CERT_CN}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = \${ENV::CERT_SAN}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
}

# certificate TARGET CN SAN EXTENSIONS [SIGNING OPTIONS…] writes TARGET.key and TARGET.crt.
certificate() {
    target=$1 cn=$2 san=$3 extensions=$4
    shift 4
    CERT_CN=$cn CERT_SAN=$san openssl req -x509 -config "$work/openssl.cnf" \
        -extensions "$extensions" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc \
        -days "$DAYS" -sha256 -keyout "$target.key" -out "$target.crt" "$@" 2>"$work/openssl.log" ||
        die "openssl could not make $target.crt: $(cat "$work/openssl.log")"
}

write_server() {
    number=$1 ip=$2 dir=$work/servers/$cluster_id/server-$1
    mkdir -p "$dir"
    san=IP:$ip,IP:127.0.0.1,DNS:etcd-$number,DNS:localhost
    for kind in server peer; do
        certificate "$dir/$kind" "etcd-$number" "$san" leaf -CA "$work/ca.crt" -CAkey "$work/ca.key"
    done
    cp "$work/ca.crt" "$dir/ca.crt"
    write_server_config "$number" "$ip" >"$dir/config.yaml"
    write_unit >"$dir/dh-etcd.service"
}

write_server_config() {
    cat <<END
# etcd server $1 of cluster $cluster_id, generated.
name: etcd-$1
data-dir: $ETCD_DATA_ROOT/$cluster_id
listen-client-urls: https://$2:2379,https://127.0.0.1:2379
advertise-client-urls: https://$2:2379
listen-peer-urls: https://$2:2380
initial-advertise-peer-urls: https://$2:2380
initial-cluster: $initial_cluster
initial-cluster-token: $cluster_id
initial-cluster-state: new
# The stand-ins of processes log in over it; 3.4 turns it off where there is a configuration.
enable-grpc-gateway: true
client-transport-security:
  cert-file: $ETCD_CONFIG_ROOT/$cluster_id/server.crt
  key-file: $ETCD_CONFIG_ROOT/$cluster_id/server.key
END
    ! by_certificates || cat <<END
  trusted-ca-file: $ETCD_CONFIG_ROOT/$cluster_id/ca.crt
  client-cert-auth: true
END
    cat <<END
peer-transport-security:
  cert-file: $ETCD_CONFIG_ROOT/$cluster_id/peer.crt
  key-file: $ETCD_CONFIG_ROOT/$cluster_id/peer.key
  trusted-ca-file: $ETCD_CONFIG_ROOT/$cluster_id/ca.crt
  client-cert-auth: true
# /health and /metrics answer here without a login.
listen-metrics-urls: http://127.0.0.1:2381
heartbeat-interval: 100
election-timeout: 1000
# A login costs a thousandth of a second here; with etcd's default of 10, eleven roles cost the lab's two cores minutes.
bcrypt-cost: $(cat /var/lib/requorum-lab/bcrypt-cost 2>/dev/null || echo 4)
END
}

write_unit() {
    cat <<END
[Unit]
Description=etcd for Deephaven
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
User=etcd
ExecStart=/usr/bin/etcd --config-file $ETCD_CONFIG_ROOT/latest/config.yaml
Restart=on-failure
RestartSec=2
LimitNOFILE=40000

[Install]
WantedBy=multi-user.target
END
}

write_client() {
    dir=$1/$2
    mkdir -p "$dir"
    printf '%s\n' "$client_endpoints" >"$dir/endpoints"
    printf '%s\n' "$2" >"$dir/user"
    if by_certificates; then
        certificate "$dir/client" "$2" "DNS:$2" leaf -CA "$work/ca.crt" -CAkey "$work/ca.key"
    else
        openssl rand -base64 24 | tr '+/' '-_' >"$dir/password"
    fi
    cp "$work/ca.crt" "$dir/ca.crt"
}

# /tmp belongs to everybody: an ID's directory that somebody else made is not ours to fill.
make_query_directory() {
    query_dir=/tmp/$cluster_id
    mkdir -m 0700 "$query_dir" 2>/dev/null || true
    if [ -L "$query_dir" ] || [ ! -d "$query_dir" ] || [ "$(stat -c %u "$query_dir")" != 0 ]; then
        die "$query_dir exists and is not a directory of root's; remove it"
    fi
    chmod 0700 "$query_dir"
}

cluster_id='' ips=''
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
        --cluster-id) cluster_id=$2 ;;
        --ips) ips=$2 ;;
        *) usage ;;
    esac
    shift 2
done
need_root
check_cluster_id "$cluster_id"
check_ips "$ips"

install -d -m 0755 "$DH_CONFIG_ROOT"
work=$(mktemp -d "$DH_CONFIG_ROOT/.generate.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

initial_cluster='' client_endpoints='' number=0
for ip in $ips; do
    number=$((number + 1))
    initial_cluster=${initial_cluster:+$initial_cluster,}etcd-$number=https://$ip:2380
    client_endpoints=${client_endpoints:+$client_endpoints,}https://$ip:2379
done

write_openssl_config
certificate "$work/ca" "CA of $cluster_id" unused ca
number=0
for ip in $ips; do
    number=$((number + 1))
    write_server "$number" "$ip"
done
for role in $DH_ROLES; do
    write_client "$work/query/client" "$role"
done
write_client "$work/here" root

make_query_directory
tar -C "$work/servers" -czf "$work/servers.tgz" "$cluster_id"
tar -C "$work/query" -czf "$work/query.tgz" client
install_file "$work/servers.tgz" "$DH_CONFIG_ROOT/dh_etcd_config.tgz" 0600 root:root
install_file "$work/query.tgz" "$query_dir/dh_query.tgz" 0600 root:root
install_client "$work/here/root" root
printf 'Wrote %s and %s for %s servers.\n' \
    "$DH_CONFIG_ROOT/dh_etcd_config.tgz" "$query_dir/dh_query.tgz" "$number"
