#!/bin/sh
# Boots copies of etcd data where nobody can see them, asks them, and ends. Run by requorum/cluster/sandbox.py as one
# transient systemd unit, so that stopping the unit ends every process here and the network namespace with them.
#
#   isolation.sh salvage|trial|verify SCRATCH ACCOUNT SECONDS
#
# SCRATCH holds  members     a line for each member: NUMBER ADDRESS PORT PLAIN_PORT ahead|votes|first|later; on the
#                            first port we are root by a certificate of this boot, on the plain one etcd takes
#                            passwords alone; what votes is started ahead, holds other data and is not asked for any
#                ids         (salvage) the members' IDs that stand-ins began with, a line each; the data must know these
#                room/       NUMBER.yaml and NUMBER/ (the data); bound to /tmp/requorum, all that ACCOUNT can see
#                roles       (trial) those whose logins come by standard input, a line each
#                judge.sh    what an archive must be, requorum/cluster/archive.py's
#                prefixes    (trial) a prefix of keys a line, the empty line is all keys
#                revision    (salvage) the revision of a backup, or nothing; (trial) what was restored, or nothing
# All but the data is put there by lines that stand before these, once the unit runs; ACCOUNT gets its room from here.
# Standard input is an archive with ROLE/user and ROLE/password of all roles. They are never on a disk here.
# Standard output is one JSON document a line, an "event" each. Exit codes: 0 all was asked, 10 it was not, and the
# last event says why.
set -u
umask 077
kind=$1 scratch=$2 account=$3 seconds=$4
room=/tmp/requorum
home=127.0.0.1
restarts=0
secrets=/tmp/requorum-secrets
most=1048576
log=$scratch/etcdctl.log

plain() { tr -d '\000-\037"\\' | cut -c1-400; }
say() { printf '%s\n' "$1"; }
fail() {
    say "{\"event\": \"failed\", \"why\": \"$(printf '%s' "$1" | plain)\"}"
    exit 10
}
# What says nothing about the data: something here is missing, or too slow.
hindered() {
    say "{\"event\": \"failed\", \"hindered\": true, \"why\": \"$(printf '%s' "$1" | plain)\"}"
    exit 10
}
# Whether the last complaint is of the time that went by: no answer is neither a refusal nor other data.
is_late() { case $why in '' | *'deadline exceeded'* | *DeadlineExceeded* | *'timed out'*) ;; *) return 1 ;; esac }
ended() { # WHAT
    is_late && hindered "$1, without an answer in time${why:+: $why}"
    fail "$1: $why"
}

# How long what takes N seconds at most may take here: SECONDS is what became of 60, by bytes and by --timeout-scale.
long() { echo $((($1 * seconds + 59) / 60)); }

# await N COMMAND…: the one poll loop; ends with 1 when the time is over, and at once when a member died.
await() {
    deadline=$(($(date +%s) + $(long "$1")))
    shift
    until "$@"; do
        check_alive
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# Raises a network of our own: every member's address lives on lo.
make_network() {
    [ "$(readlink /proc/self/ns/net)" != "$(readlink /proc/1/ns/net)" ] ||
        hindered "this host gives no network namespace of its own; the copies would be seen by the real members"
    ip link set lo up || hindered "lo cannot be raised in the namespace"
    while read -r _ address _; do
        case $address in
            127.*) ;;
            *:*) ip addr add "$address/128" dev lo nodad || hindered "$address cannot be added to lo" ;;
            *) ip addr add "$address/32" dev lo || hindered "$address cannot be added to lo" ;;
        esac
    done <"$scratch/members"
}

check_tools() {
    for tool in openssl setpriv curl etcd etcdctl; do
        command -v "$tool" >/dev/null || hindered "$tool is not installed on this host"
    done
}

# Memory that is the unit's own, and goes with it however it ends: logins and our key lie there alone.
take_logins() {
    mkdir "$secrets/logins" || hindered "this host gives no place for what is secret"
    [ -s "$scratch/roles" ] || return 0
    head -c $((most + 1)) >"$secrets/packed" || hindered "the logins cannot be kept"
    exec </dev/null
    [ "$(stat -c %s "$secrets/packed")" -le "$most" ] || hindered "the logins are more than $most bytes"
    sh -c "$(cat "$scratch/judge.sh")" "$secrets/packed" '\.' 2>"$log" ||
        hindered "the logins must be files and directories alone: $(cat "$log")"
    tar --extract --file="$secrets/packed" --directory="$secrets/logins" --no-same-owner 2>"$log" ||
        hindered "the logins cannot be unpacked: $(cat "$log")"
    rm -f "$secrets/packed"
    while IFS= read -r role; do
        [ -f "$secrets/logins/$role/user" ] && [ -f "$secrets/logins/$role/password" ] ||
            hindered "the login of $role did not arrive"
    done <"$scratch/roles"
}

# beside COMMAND…: in a shell of its own, what etcd says of it in a file of its own; `gather` waits for all that were
# begun so, says what they said in their order, and ends as the first that ended this.
begun=
count=0
beside() {
    count=$((count + 1))
    (
        log=$scratch/beside.$count.log
        "$@"
    ) >"$scratch/beside.$count" &
    begun="$begun $!:$count"
}
gather() {
    for one in $begun; do
        ended=0
        wait "${one%%:*}" || ended=$?
        cat "$scratch/beside.${one#*:}"
        [ "$ended" = 0 ] || exit "$ended"
    done
    begun=
}

# make_certificate CN KEY CERTIFICATE: a throw-away one that is its own authority, for the peers' addresses and names.
make_certificate() {
    settings=${3##*/}.cnf
    {
        printf '[req]\ndistinguished_name = name\nprompt = no\nx509_extensions = all\n[name]\nCN = %s\n' "$1"
        printf '[all]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, digitalSignature, keyCertSign\n'
        printf 'subjectAltName = IP:127.0.0.1'
        while read -r _ address _; do
            printf ', IP:%s' "$address"
        done <"$scratch/members"
        awk 'NF > 1 && $2 != "localhost" { printf ", DNS:%s", $2 }' "$scratch/hosts"
        printf '\n'
    } >"$scratch/$settings"
    openssl ecparam -name prime256v1 -genkey -noout -out "$2" 2>"$log" &&
        openssl req -x509 -new -key "$2" -sha256 -days 2 -config "$scratch/$settings" -out "$3" 2>"$log" ||
        hindered "openssl made no certificate: $(cat "$log")"
}

# The peers' and servers' own, and one that etcd takes for the user root. The key of that stays with us.
make_certificates() {
    mkdir -p "$room/tls"
    beside make_certificate "requorum $kind" "$room/tls/peer.key" "$room/tls/peer.crt"
    beside make_certificate root "$secrets/root.key" "$room/tls/root.crt"
    gather
}

# Until here it was root's: the data, the configurations and the keys of peers.
give_room() { chown -R "$account:" "$room" 2>"$log" || hindered "$account cannot be given its data: $(cat "$log")"; }

start() {
    setpriv --reuid="$account" --regid="$(id -g "$account")" --init-groups --no-new-privs \
        env -u ETCDCTL_USER -u ETCDCTL_PASSWORD etcd --config-file "$room/$1.yaml" >"$scratch/$1.log" 2>&1 &
    printf '%s\n' "$!" >"$scratch/$1.pid"
}

start_all() { # WHEN…
    while read -r number _ _ _ when; do
        case " $* " in *" $when "*) start "$number" ;; esac
    done <"$scratch/members"
}

# etcd's own reason: its last fatal line, whichever way this version writes its log; or Go's, of a page that is not there.
reason() {
    grep -E '"level":"(fatal|panic|error)"|^panic:|^\[signal |^[^{]* [CE] \|' "$scratch/$1.log" | grep -v '^goroutine' | tail -n 1
}

# The shell has no local names, and this is called from every wait: these two are nobody else's.
check_alive() {
    while read -r alive _ _ _ turn; do
        [ -e "$scratch/$alive.pid" ] || continue
        kill -0 "$(cat "$scratch/$alive.pid")" 2>/dev/null && continue
        # A stand-in asks the copies who the members are, and ends when they do not answer at once.
        if [ "$turn" = later ] && [ "$restarts" -lt 10 ]; then
            restarts=$((restarts + 1))
            rm -rf "${room:?}/$alive"
            start "$alive"
            continue
        fi
        why=$(reason "$alive" | plain)
        say "{\"event\": \"died\", \"member\": \"$alive\", \"when\": \"$turn\", \"why\": \"${why:-no reason in its log}\"}"
        exit 10
    done <"$scratch/members"
}

# What one says of the members, in $answer; needs no leader.
answers_peers() { # NUMBER
    url=$(sed -n 's/^listen-peer-urls: *//p' "$room/$1.yaml")
    # etcd's peer listener takes HTTP/2 for gRPC, and answers nothing else there.
    answer=$(curl -skg --http1.1 --noproxy '*' --max-time "$(long 1)" --cert "$room/tls/peer.crt" \
        --key "$room/tls/peer.key" "$url/members") || return 1
    case $answer in '['*) ;; *) return 1 ;; esac
}

# The members as the data has them: any of the copies tells.
told_members() {
    while read -r number _ _ _ when; do
        [ "$when" = first ] && answers_peers "$number" || continue
        say "{\"event\": \"members\", \"answer\": $answer}"
        return 0
    done <"$scratch/members"
    return 1
}

# Stand-ins that begin ahead have looked for a cluster that knows them already, and found nobody.
stood_ahead() {
    while read -r number _ _ _ when; do
        case $when in ahead | votes) answers_peers "$number" || return 1 ;; esac
    done <"$scratch/members"
}

# The data knows exactly the members that the stand-ins began with.
known_ids() {
    told_members && [ "$(printf '%s' "$answer" | grep -o '"id":[0-9]*' | cut -d : -f 2 | sort)" = "$(sort "$scratch/ids")" ]
}

# Every member sees a leader; /metrics answers without a login.
led() {
    while read -r _ _ _ plain_port _; do
        curl -sg --noproxy '*' --max-time "$(long 1)" "http://$home:$plain_port/metrics" |
            grep -q '^etcd_server_has_leader 1' || return 1
    done <"$scratch/members"
}

# Who asks: root by the certificate of this boot, a user by a password, or nobody.
as_root() {
    as_nobody
    export ETCDCTL_CACERT="$room/tls/peer.crt" ETCDCTL_CERT="$room/tls/root.crt" ETCDCTL_KEY="$secrets/root.key"
}

as_user() { # NAME PASSWORD
    as_nobody
    export ETCDCTL_USER="$1" ETCDCTL_PASSWORD="$2"
}

as_nobody() { unset ETCDCTL_USER ETCDCTL_PASSWORD ETCDCTL_CACERT ETCDCTL_CERT ETCDCTL_KEY; }

# asks ENDPOINTS ARGUMENTS…: one question; its answer in $answer, its last complaint in $why.
asks() {
    at=$1 patience=8
    shift
    case "$*" in *hashkv*) patience=240 ;; esac # it reads all keys: gigabytes, from a cold disk
    answer=$(timeout -k 2 "$(long $((patience + 12)))" etcdctl --endpoints="$at" --dial-timeout="$(long 2)s" \
        --command-timeout="$(long $patience)s" "$@" 2>"$log") && why='' && return 0
    why=$(grep -v '^$' "$log" | tail -n 1 | plain)
    return 1
}

# A read that is answered says that the member has applied all before it.
reads() { asks "$1" get /requorum-login --keys-only; } # ENDPOINT

# The question is settled: it was answered, or refused for good. A leader that changes is no refusal.
settled() { # ENDPOINT
    reads "$1" && return 0
    case $why in
        *'etcdserver: permission denied'* | *'code = PermissionDenied'*) why='' ;;
        *'authentication failed'* | *'invalid user'* | *'user name is empty'*) ;;
        *) return 1 ;;
    esac
}

# Asks whoever we are now to be let in, until that is settled; true if so, else $why says why not.
let_in() { # PLAIN ENDPOINT
    await 30 settled "$1" || ! is_late || hindered "a login has no answer in time${why:+: $why}"
    [ -z "$why" ]
}

event() { # NAME ENDPOINTS ARGUMENTS…
    told=$1 # not `name`: every variable here is everybody's, and a second try would find that one overwritten
    shift
    # A token may not be known at once to a member that has just caught up.
    await 20 asks "$@" || ended "$told"
    say "{\"event\": \"$told\", \"answer\": $answer}"
}

# Alarms lie in the data. They are said and taken away here, in the copy: with NOSPACE nothing could be written, and
# with CORRUPT nothing could be asked; whether the data counts is decided by who reads this.
disarm() { # ENDPOINT
    event alarms "$1" alarm list -w json
    case $answer in *'"alarms"'*) await 20 asks "$1" alarm disarm || ended "an alarm stays" ;; esac
}

# The revision that all is asked at: leases expire by themselves, so members are never at one and the same for long.
pin() { # ENDPOINT REVISION: that of the second, or the one that the first has now
    at_revision=$2
    [ -n "$at_revision" ] || { await 20 asks "$1" get /requorum-login --keys-only -w json || ended "no revision"; }
    [ -n "$at_revision" ] || at_revision=$(printf '%s' "$answer" | grep -o '"revision":[0-9]*' | head -n 1 | cut -d : -f 2)
    [ -n "$at_revision" ] || fail "no revision in its answer"
    say "{\"event\": \"pinned\", \"answer\": $at_revision}"
}

# No deadline of etcdctl's own: a database takes the time it takes.
saves() { # ENDPOINT
    etcdctl --endpoints="$1" --dial-timeout="$(long 2)s" snapshot save "$scratch/salvage.snap" >"$log" 2>&1
}

ask_salvage() {
    await 30 reads "$first" || ended "nothing can be read"
    disarm "$first"
    if ! await 20 saves "$first"; then
        why=$(tail -n 1 "$log" | plain)
        ! is_late || hindered "the save did not end in time${why:+: $why}"
        fail "the save failed: $why"
    fi
    say '{"event": "saved"}'
    follow 60
    pin "$first" ''
    event hashes "$all" endpoint hashkv --rev="$at_revision" -w json
    # The hash that a backup recorded; not told where that revision is compacted, or was never reached.
    if [ -s "$scratch/revision" ] && asks "$all" endpoint hashkv --rev="$(cat "$scratch/revision")" -w json; then
        say "{\"event\": \"then\", \"answer\": $answer}"
    elif [ -s "$scratch/revision" ] && is_late; then
        hindered "the hash of then could not be asked in time${why:+: $why}"
    fi
    # A log that ends before what the database holds is a torn one: etcd would skip what is written next.
    await 20 asks "$first" put /requorum-probe "$kind" || ended "what is written is not kept"
    await 20 asks "$first" get /requorum-probe --print-value-only || ended "what was written is not read"
    [ "$answer" = "$kind" ] ||
        fail "what was written is not there: its log ends before what its database holds"
}

# The members that hold the data.
holders() { grep -v ' votes$' "$scratch/members"; }

follow() { # SECONDS: until every one of them has applied all that there was
    for port in $(holders | cut -d ' ' -f 3); do
        await "$1" reads "https://$home:$port" || ended "a member does not follow"
    done
}

# Whether authentication is on in this data: then nobody without a name is let in. Passwords mean nothing where it is
# off, and etcd lets any of them in.
tell_authentication() {
    as_nobody
    guarded=false
    let_in "$plain_first" || guarded=true
    case $why in '' | *'user name is empty'*) ;; *) fail "whether authentication is on is not told: $why" ;; esac
    say "{\"event\": \"authentication\", \"answer\": $guarded}"
    as_root
}

# One role's login, in a shell of its own. etcd's words of it are a file of its own too.
try_login() { # ROLE
    log=$secrets/$1.log
    user=$(cat "$secrets/logins/$1/user")
    as_user "$user" "$(cat "$secrets/logins/$1/password")"
    let_in "$plain_first" || :
    say "{\"event\": \"login\", \"role\": \"$1\", \"why\": \"$why\"}"
    case $kind:$user in trial:root) ;; trial:*) tell_opens "$user" ;; esac
}

# What a user may read, a document for each of his roles. Here root needs no password; what is not told is asked later.
tell_opens() { # USER
    as_root
    [ "$1" = "$(printf '%s' "$1" | plain)" ] && asks "$first" user get "$1" --detail -w json || return 0
    printf '%s\n' "$answer" | grep -Fqx "User: $1" || return 0
    documents=$(printf '%s\n' "$answer" | grep '^{' | paste -s -d , -)
    # etcd shows the role root, which opens everything, as one that opens nothing.
    if printf '%s\n' "$answer" | grep '^{' | grep -Fqv '"perm":['; then
        asks "$first" user get "$1" -w json || return 0
        case $answer in *'"root"'*) documents='{"perm":[{"range_end":"AA=="}]}' ;; esac
    fi
    say "{\"event\": \"opens\", \"user\": \"$1\", \"answer\": [$documents]}"
}

# Every role by its old password, all at once. Then a wrong one, of root and of everybody whose own was not seen to be
# right: it must be refused, and etcd says then who has none at all.
try_passwords() {
    known=' '
    tries=
    for role in root $(ls "$secrets/logins" | grep -vx root); do
        [ -e "$secrets/logins/$role/user" ] || continue
        (try_login "$role") >"$secrets/$role.said" &
        tries="$tries $!:$role"
    done
    for try in $tries; do
        role=${try#*:}
        ended=0
        wait "${try%%:*}" || ended=$?
        cat "$secrets/$role.said"
        [ "$ended" = 0 ] || exit "$ended"
        user=$(cat "$secrets/logins/$role/user")
        case $user:$(cat "$secrets/$role.said") in
            root:*) ;;
            *'"why": ""}'*) known="$known$user " ;;
        esac
    done
    as_root
    await 20 asks "$first" user list || ended users
    while IFS= read -r user; do
        case $known in *" $user "*) continue ;; esac
        as_user "$user" not-the-password
        let_in "$plain_first" || :
        say "{\"event\": \"wrong\", \"user\": \"$(printf '%s' "$user" | plain)\", \"why\": \"$why\"}"
    done <<END
$answer
END
    as_root
}

# Whether an answer is of the revision that all is asked at: no lease ran out since.
at_it() { case $answer in *"\"revision\":$at_revision,"*) ;; *) return 1 ;; esac }

# How many keys have a lease, by what each of the leases holds: a list of keys would read all data. Of many leases, where
# one runs out meanwhile, and where a key names a lease that is not there, as etcd said when it started, it is not told.
tell_leased() {
    ! grep -qsiE 'attach (a lease|error)' "$scratch"/*.log || return 0
    asks "$first" lease list -w json && at_it || return 0
    leases=$(printf '%s' "$answer" | grep -o '"id":[0-9-]*' | cut -d : -f 2)
    leased=0
    # shellcheck disable=SC2086 # one word each
    set -- $leases
    [ $# -le 16 ] || return 0
    for lease; do
        asks "$first" lease timetolive "$(printf %x "$lease")" --keys -w json && at_it || return 0
        held=${answer#*'"keys":['}
        [ "$held" = "$answer" ] || leased=$((leased + $(printf '%s' "${held%%]*}" | grep -o '"[^"]*"' | wc -l)))
    done
    say "{\"event\": \"leased\", \"answer\": $leased}"
}

ask_trial() {
    follow 30
    tell_authentication
    [ "$guarded" = false ] || try_passwords
    disarm "$first"
    pin "$first" "$(cat "$scratch/revision")"
    beside event hashes "$all" endpoint hashkv --rev="$at_revision" -w json
    beside event users "$first" user list -w json
    beside event roles "$first" role list -w json
    while IFS= read -r prefix; do
        beside event count "$first" get "$prefix" --prefix --keys-only --limit=1 --rev="$at_revision" -w json
        [ $((count % 16)) != 0 ] || gather
    done <"$scratch/prefixes"
    gather
    [ "$kind" != trial ] || tell_leased
}

# A backup that is proven every night: all that a trial asks, and how many leases it brings back.
ask_verify() {
    ask_trial
    event leases "$first" lease list -w json
}

make_network
check_tools
take_logins
make_certificates
give_room
limit=60
if [ -s "$scratch/ids" ]; then
    limit=20 # the other way remains
    start_all ahead votes
    await $limit stood_ahead || hindered "no stand-in answers its peers in time"
fi
start_all first
await 60 told_members || hindered "no copy answers its peers within $seconds s"
start_all later
await $limit led || hindered "no leader within $(long $limit) s"
[ ! -s "$scratch/ids" ] || await 10 known_ids || fail "the data knows other members than it began with"
say '{"event": "leader"}'
first=https://$home:$(head -n 1 "$scratch/members" | cut -d ' ' -f 3)
plain_first=http://$home:$(head -n 1 "$scratch/members" | cut -d ' ' -f 4)
all=$(holders | cut -d ' ' -f 3 | sed "s#^#https://$home:#" | paste -sd , -)
as_root
"ask_$kind"
say '{"event": "done"}'
