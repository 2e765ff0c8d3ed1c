"""The shell of `ailments`: what is done on a machine to make it ill, and to make it well again.

Each runs by `bash -e` as root, with the unit's name as $1.
"""

from compose.faults import CONFIG, UNIT

DATA = f"data=$(sed -n 's/^data-dir:[[:space:]]*//p' {CONFIG})\n"
RESTART = f"systemctl restart --no-block {UNIT}"


# A tmpfs with the member's data takes its place, and is filled up. What etcd wrote until then is carried back.
FILL = f"""{DATA}
systemctl stop "$1"
mkdir -p /run/full
mount -t tmpfs -o size=$(($(du -sk "$data" | cut -f 1) + 4096))k tmpfs /run/full
cp -a "$data/." /run/full
chown --reference="$data" /run/full
chmod --reference="$data" /run/full
mount --bind /run/full "$data"
dd if=/dev/zero of=/run/full/filler bs=64k status=none 2>/dev/null || true
chown --reference="$data" /run/full/filler
systemctl start --no-block "$1"
"""
DRAIN = f"""{DATA}
systemctl stop "$1"
umount "$data"
rm -f /run/full/filler
find "$data" -mindepth 1 -delete
cp -a /run/full/. "$data"
umount /run/full
systemctl reset-failed "$1" || true
systemctl start --no-block "$1"
"""

# A certificate of a CA that nobody knows. `openssl ca`, since `req` cannot date one back.
FORGE = f"""
cd "$(dirname {CONFIG})"
cp -a peer.crt peer.crt.was; cp -a peer.key peer.key.was; cp -a ca.crt ca.crt.was
work=$(mktemp -d)
printf '[ca]\\ndefault_ca=x\\n[x]\\nserial=%s/serial\\ndatabase=%s/index\\nnew_certs_dir=%s\\npolicy=p\\n' \\
    "$work" "$work" "$work" >"$work/cnf"
printf 'copy_extensions=copyall\\n[p]\\ncommonName=supplied\\n' >>"$work/cnf"
echo 01 >"$work/serial"; : >"$work/index"
new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc'
openssl req -x509 $new -subj '/CN=nobody' -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
ip=$(sed -n 's#^initial-advertise-peer-urls: https://\\(.*\\):2380#\\1#p' config.yaml)
openssl req -new $new -subj /CN=etcd -addext "subjectAltName=IP:$ip" -keyout "$work/peer.key" -out "$work/csr" \\
    2>/dev/null
openssl ca -batch -config "$work/cnf" -cert "$work/ca.crt" -keyfile "$work/ca.key" -md sha256 -in "$work/csr" -notext \\
    -out "$work/peer.crt" -startdate "$2" -enddate "$3" 2>/dev/null
cat "$work/peer.crt" >peer.crt; cat "$work/peer.key" >peer.key
[ -z "$4" ] || cat "$work/ca.crt" >>ca.crt
rm -r "$work"
systemctl restart --no-block "$1"
"""
UNFORGE = f"""
cd "$(dirname {CONFIG})"
for file in peer.crt peer.key ca.crt; do mv -f "$file.was" "$file"; done
systemctl restart --no-block "$1"
"""


SPLIT = f"""{DATA}
name=$(sed -n 's/^name: //p' {CONFIG}); peer=$(sed -n 's/^initial-advertise-peer-urls: //p' {CONFIG})
cp -a {CONFIG} {CONFIG}.was
sed -i -e "s#^data-dir:.*#data-dir: $data-other#" -e "s#^initial-cluster:.*#initial-cluster: $name=$peer#" \\
    -e "s#^initial-cluster-token:.*#initial-cluster-token: another#" {CONFIG}
systemctl restart "$1"
"""
UNSPLIT = f"""{DATA}
systemctl stop "$1"
mv -f {CONFIG}.was {CONFIG}
rm -rf "$data"
systemctl start --no-block "$1"
"""


CLOCK = (
    'printf \'#!/bin/sh\\nexec /bin/date -d "+90 seconds" "$@"\\n\' >/usr/local/bin/date; chmod 755 /usr/local/bin/date'
)
START = 'systemctl reset-failed "$1" || true; systemctl start --no-block "$1"'
