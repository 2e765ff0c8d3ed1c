#!/bin/sh
# The nightly proof of a backup of @CLUSTER@, as root runs it on this machine: put here once by ./setup hosts, made from
# requorum/verify/program.sh, and named by sudoers word for word. Who may run it says which data is booted and what is
# asked of it, and nothing of what root runs.
#
#   logins                      prints an archive with ROLE/user and ROLE/password of all roles
#   boot memory|disk SECONDS    restores a backup as one member, boots it unseen, prints a JSON document a line
#   left                        prints what a proof has left on this machine
#   clear                       ends what one left running, and removes what it left
#
# Standard input of `boot`: a line TOKEN REVISION BUMP BYTES SHA256 PATIENCE ROLES PREFIXES, then so many roles and so many
# prefixes, a line each; then BYTES of the backup; then the archive of the logins.
set -u
umask 077
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unset ETCDCTL_USER ETCDCTL_PASSWORD ETCDCTL_API LD_PRELOAD LD_LIBRARY_PATH TMPDIR TAR_OPTIONS

base=@BASE@ runs=@RUNS@ account=@ACCOUNT@ client=@CLIENT@ me=@PROGRAM@
room=@ROOM@ secrets=@SECRETS@
on_disk=$runs/@KIND@-scratch
slice=@SLICE@

usage() {
    echo "usage: $me logins | boot memory|disk SECONDS | left | clear" >&2
    exit 2
}

is_number() { case $1 in '' | *[!0-9]* | ????????????????????*) return 1 ;; esac }

# A name that is a role's, and no way to anywhere else.
is_role() { case $1 in '' | [.-]* | *[!A-Za-z0-9._-]*) return 1 ;; esac }

give_logins() {
    cd "$client" || exit 1
    set --
    for file in */password; do
        is_role "${file%/password}" && [ -f "$file" ] && [ -f "${file%/*}/user" ] || continue
        set -- "$@" "./${file%/*}/user" "./$file"
    done
    if [ $# = 0 ]; then
        echo "no role has a password below $client" >&2
        exit 1
    fi
    exec tar --create --file=- --dereference --hard-dereference "$@"
}

tell_left() { find "$runs" -mindepth 1 -maxdepth 1 -name '@KIND@-*'; }

clear_all() {
    systemctl stop "$slice"
    case $? in 0 | 5) ;; *) return 1 ;; esac
    [ -d "$runs" ] || return 0
    find "$runs" -mindepth 1 -maxdepth 1 -name '@KIND@-*' -exec rm -rf {} + || return 1
    rmdir --ignore-fail-on-non-empty "$runs" "$base" 2>/dev/null || :
}

# The unit: no network, nothing of the real cluster in sight, and gone with all that it holds. In memory half of what is
# free is the most that it may take.
boot() { # memory|disk SECONDS
    where=$1 seconds=$2
    set --
    if [ "$where" = memory ]; then
        half=$(awk '$1 == "MemAvailable:" { print int($2 / 2) }' /proc/meminfo)
        set -- "--property=TemporaryFileSystem=$room:mode=0700,size=${half}k" --property=MemorySwapMax=0
    else
        install -d -m 700 "$base" "$runs" "$on_disk" "$on_disk/room" || exit 1
        set -- "--property=BindPaths=$on_disk/room:$room" "--property=ReadWritePaths=$on_disk"
    fi
    for path in @HIDDEN@; do
        real=$(readlink -m -- "$path")
        for needed in @NEEDED@ "$on_disk"; do
            case $(readlink -m -- "$needed")/ in "$real"/*) continue 2 ;; esac
        done
        set -- "$@" "--property=InaccessiblePaths=-$path"
    done
    @UNIT@ "--property=RuntimeMaxSec=$seconds" "$@" sh "$me" inside "$where"
    ended=$?
    [ "$where" = memory ] || rm -rf "$on_disk"
    exit $ended
}

plain() { tr -d '\000-\037"\\' | cut -c1-400; }
give_up() { # WHY
    printf '{"event": "failed", "hindered": true, "why": "%s"}\n' "$(printf '%s' "$1" | plain)"
    exit 10
}
milliseconds() { awk '{ printf "%.0f", 1000 * $1 }' /proc/uptime; }

# What a run wants to know, line by line; whatever it may not say ends this.
read_order() {
    wrong="what was asked for is not understood"
    IFS=' ' read -r token revision bump bytes sha patience roles prefixes || give_up "$wrong"
    for number in "$revision" "$bump" "$bytes" "$patience" "$roles" "$prefixes"; do
        is_number "$number" || give_up "$wrong"
    done
    case $token in '' | -* | *[!a-z0-9-]*) give_up "$wrong" ;; esac
    case $sha in '' | *[!0-9a-f]*) give_up "$wrong" ;; esac
    [ "$roles" -le 1000 ] && [ "$prefixes" -le 10000 ] && [ "$patience" -le 1000000 ] || give_up "$wrong"
    : >"$scratch/roles" >"$scratch/prefixes" >"$scratch/ids"
    while [ "$roles" -gt 0 ]; do
        IFS= read -r role && is_role "$role" || give_up "$wrong"
        printf '%s\n' "$role" >>"$scratch/roles"
        roles=$((roles - 1))
    done
    while [ "$prefixes" -gt 0 ]; do
        IFS= read -r prefix || give_up "$wrong"
        case $prefix in -*) give_up "$wrong" ;; esac # it would be an option
        printf '%s\n' "$prefix" >>"$scratch/prefixes"
        prefixes=$((prefixes - 1))
    done
    echo "$((revision + bump))" >"$scratch/revision"
}

take_backup() {
    head -c "$bytes" >"$room/backup" 2>"$scratch/log" || give_up "the backup cannot be kept: $(tail -n 1 "$scratch/log")"
    [ "$(stat -c %s "$room/backup")" = "$bytes" ] || give_up "the backup did not arrive whole"
    found=$(sha256sum <"$room/backup")
    [ "${found%% *}" = "$sha" ] || give_up "the backup arrived altered: another SHA-256"
}

restore() {
    tool=$(command -v etcdutl || command -v etcdctl) || give_up "root finds no etcdutl and no etcdctl there"
    set --
    [ "$bump" = 0 ] || set -- --bump-revision="$bump" --mark-compacted
    chown "$account:" "$room/backup"
    if ! setpriv --reuid="$account" --regid="$(id -g "$account")" --init-groups --no-new-privs \
        env ETCDCTL_API=3 "$tool" snapshot restore "$room/backup" --data-dir="$room/1" --name=@NAME@ \
        --initial-cluster=@NAME@=@PEER@ --initial-cluster-token="$token" --initial-advertise-peer-urls=@PEER@ "$@" \
        >"$scratch/log" 2>&1; then
        why=$(grep -v '^ *$' "$scratch/log" | tail -n 1 | plain)
        printf '{"event": "failed", "why": "the restore failed: %s"}\n' "$why"
        exit 10
    fi
    rm -f "$room/backup"
}

# Whether the disk's scheduler heeds how little this unit may claim of it.
tell_weight() {
    number=$(findmnt -n -o MAJ:MIN -T "$on_disk" | tr -d ' ')
    at=$(readlink -f "/sys/dev/block/$number") || at=
    [ -e "$at/queue/scheduler" ] || at=${at%/*}
    scheduler=$(sed -n 's/.*\[\(.*\)\].*/\1/p' "$at/queue/scheduler" 2>/dev/null | plain)
    if grep -qs "^$number enable=1" /sys/fs/cgroup/io.cost.qos; then scheduler=io.cost; fi
    printf '{"event": "weight", "answer": "%s"}\n' "${scheduler:-unknown}"
}

case ${1-}:$# in
logins:1) give_logins ;;
left:1)
    tell_left
    exit
    ;;
clear:1)
    clear_all
    exit
    ;;
boot:3)
    case $2 in memory | disk) ;; *) usage ;; esac
    is_number "$3" || usage
    boot "$2" "$3"
    ;;
inside:2) ;;
*) usage ;;
esac

# From here on in the unit.
if [ "$2" = memory ]; then scratch=$secrets/scratch; else scratch=$on_disk; fi
mkdir -p "$scratch"
chown "$account:" "$room" && chmod 700 "$room" || give_up "this machine gives no room of its own"
[ "$2" = memory ] || tell_weight
read_order
began=$(milliseconds)
take_backup
arrived=$(milliseconds)
restore
printf '{"event": "restored", "answer": [%s, %s]}\n' $((arrived - began)) $(($(milliseconds) - arrived))
echo '1 127.0.0.1 @PORT@ @PLAIN_PORT@ first' >"$scratch/members"
echo '127.0.0.1 localhost' >"$scratch/hosts"
cat >"$scratch/judge.sh" <<'END'
@JUDGE@
END
sed "s/@TOKEN@/$token/" >"$room/1.yaml" <<'END'
@CONFIG@
END
chown "$account:" "$room/1.yaml"
set -- @KIND@ "$scratch" "$account" "$patience"

# What follows is requorum/cluster/sandbox.sh, which boots every isolated copy.
