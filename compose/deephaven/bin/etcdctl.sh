#!/bin/sh
# Stand-in for Deephaven's proprietary etcdctl.sh: etcdctl with one role's client configuration.
#
#   etcdctl.sh ARGS…            the role is the directory $DH_ETCD_DIR (default: root's)
#
# Endpoints, user or CA given in ARGS win over the files. The password travels by environment only.
set -eu
bin=$(dirname "$(readlink -f "$0")")
# shellcheck source=compose/deephaven/bin/dh_common.sh
. "$bin/dh_common.sh"

dir=${DH_ETCD_DIR:-$DH_CLIENT_ROOT/root}
[ -e "$dir" ] || die "no client configuration at $dir on this machine"
proofs=password
[ ! -e "$dir/client.crt" ] || proofs=client.key
for name in endpoints user $proofs ca.crt; do
    [ -r "$dir/$name" ] || die "cannot read $dir/$name; run as root or $DH_ADMIN"
done

with_scheme() {
    printf '%s' "$1" | sed -E 's#(^|,)([^,:/]+:[0-9]+|\[[^],]+\]:[0-9]+)#\1https://\2#g'
}

endpoints='' own_user='' own_ca='' words='' next=''
for arg in "$@"; do
    shift
    if [ "$next" = endpoints ]; then
        next='' endpoints=given arg=$(with_scheme "$arg")
    else
        case $arg in
            --endpoints) endpoints=given next=endpoints ;;
            --endpoints=*) endpoints=given arg=--endpoints=$(with_scheme "${arg#--endpoints=}") ;;
            --user | --user=*) own_user=yes ;;
            --cacert | --cacert=*) own_ca=yes ;;
            -*) ;;
            *) words="$words $arg" ;;
        esac
    fi
    set -- "$@" "$arg"
done

# A flag and its variable together are an error to etcdctl, so each is set only where it is missing.
if [ -e "$dir/client.crt" ]; then
    set -- "--cert=$dir/client.crt" "--key=$dir/client.key" "$@"
elif [ -z "$own_user" ] && [ -z "${ETCDCTL_USER:-}" ]; then
    ETCDCTL_USER=$(cat "$dir/user")
    ETCDCTL_PASSWORD=$(cat "$dir/password")
    export ETCDCTL_USER ETCDCTL_PASSWORD
fi
[ -n "$own_ca" ] || set -- "--cacert=$dir/ca.crt" "$@"
[ -z "$endpoints" ] || exec etcdctl "$@"

case $words in
    ' snapshot save'*) ;;
    *) exec etcdctl "--endpoints=$(cat "$dir/endpoints")" "$@" ;;
esac

# A snapshot is taken from exactly one member: the first that gives one.
code=1
for endpoint in $(tr ',' ' ' <"$dir/endpoints"); do
    code=0
    etcdctl "--endpoints=$endpoint" "$@" || code=$?
    [ "$code" != 0 ] || break
done
exit "$code"
