#!/bin/sh
# Boots copies of etcd data where nobody can see them, asks them, and ends. Run by requorum/cluster/sandbox.py as one
# transient systemd unit, so that stopping the unit ends every process here and the network namespace with them.
#
#   isolation.sh salvage|trial SCRATCH ACCOUNT SECONDS
#
# SCRATCH holds  members     a line for each member: NUMBER ADDRESS CLIENT_PORT first|later
#                room/       NUMBER.yaml and NUMBER/ (the data); bound to /tmp/requorum, all that ACCOUNT can see
#                logins/     ROLE/user and ROLE/password, for root only
#                prefixes    (trial) a prefix of keys a line, the empty line is all keys
#                revision    (salvage) the revision of a backup, or nothing; (trial) what was restored, or nothing
# Standard output is one JSON document a line, an "event" each. Exit codes: 0 all was asked, 10 it was not, and the
# last event says why.
set -u
umask 077
kind=$1 scratch=$2 account=$3 seconds=$4
room=/tmp/requorum
home=http://127.0.0.1
restarts=0

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

# await SECONDS COMMAND…: the one poll loop; ends with 1 when the time is over, and at once when a member died.
await() {
    deadline=$(($(date +%s) + $1))
    shift
    until "$@"; do
        check_alive
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.2
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

# One throw-away certificate that is its own authority, for the peers' addresses and names.
make_certificate() {
    mkdir -p "$room/tls"
    {
        printf '[req]\ndistinguished_name = name\nprompt = no\nx509_extensions = all\n[name]\nCN = requorum %s\n' "$kind"
        printf '[all]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, digitalSignature, keyCertSign\n'
        printf 'subjectAltName = IP:127.0.0.1'
        while read -r _ address _; do
            printf ', IP:%s' "$address"
        done <"$scratch/members"
        awk 'NF > 1 && $2 != "localhost" { printf ", DNS:%s", $2 }' "$scratch/hosts"
        printf '\n'
    } >"$scratch/openssl.cnf"
    openssl ecparam -name prime256v1 -genkey -noout -out "$room/tls/peer.key" 2>"$scratch/openssl.log" &&
        openssl req -x509 -new -key "$room/tls/peer.key" -sha256 -days 2 -config "$scratch/openssl.cnf" \
            -out "$room/tls/peer.crt" 2>"$scratch/openssl.log" ||
        hindered "openssl made no certificate: $(cat "$scratch/openssl.log")"
    chown -R "$account:" "$room/tls"
}

start() {
    setpriv --reuid="$account" --regid="$(id -g "$account")" --init-groups \
        env -u ETCDCTL_USER -u ETCDCTL_PASSWORD etcd --config-file "$room/$1.yaml" >"$scratch/$1.log" 2>&1 &
    printf '%s\n' "$!" >"$scratch/$1.pid"
}

start_all() {
    while read -r number _ _ when; do
        [ "$when" != "$1" ] || start "$number"
    done <"$scratch/members"
}

# etcd's own reason: its last fatal line, whichever way this version writes its log.
reason() {
    grep -E '"level":"(fatal|panic|error)"|^panic:|^[^{]* [CE] \|' "$scratch/$1.log" | grep -v '^goroutine' | tail -n 1
}

# The shell has no local names, and this is called from every wait: these two are nobody else's.
check_alive() {
    while read -r alive _ _ turn; do
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

# The members as the data has them: any of the copies tells, without a leader.
told_members() {
    while read -r number address _ when; do
        [ "$when" = first ] || continue
        url=$(sed -n 's/^listen-peer-urls: *//p' "$room/$number.yaml")
        # etcd's peer listener takes HTTP/2 for gRPC, and answers nothing else there.
        answer=$(curl -skg --http1.1 --noproxy '*' --max-time 1 --cert "$room/tls/peer.crt" \
            --key "$room/tls/peer.key" "$url/members") || continue
        case $answer in '['*)
            say "{\"event\": \"members\", \"answer\": $answer}"
            return 0
            ;;
        esac
    done <"$scratch/members"
    return 1
}

# Every member sees a leader; /metrics answers without a login.
led() {
    while read -r _ _ port _; do
        curl -sg --noproxy '*' --max-time 0.5 "$home:$port/metrics" | grep -q '^etcd_server_has_leader 1' || return 1
    done <"$scratch/members"
}

be() {
    ETCDCTL_USER=$(cat "$scratch/logins/$1/user") ETCDCTL_PASSWORD=$(cat "$scratch/logins/$1/password")
    export ETCDCTL_USER ETCDCTL_PASSWORD
}

# asks ENDPOINTS ARGUMENTS…: one question; its answer in $answer, its last complaint in $why.
asks() {
    at=$1 patience=8
    shift
    case "$*" in *hashkv*) patience=240 ;; esac # it reads all keys: gigabytes, from a cold disk
    answer=$(timeout -k 2 $((patience + 12)) etcdctl --endpoints="$at" --command-timeout="${patience}s" "$@" 2>"$scratch/etcdctl.log") && why='' && return 0
    why=$(grep -v '^$' "$scratch/etcdctl.log" | tail -n 1 | plain)
    return 1
}

# A login is a proposal: that it succeeds on a member means that the member has applied all before it.
logs_in() { # ENDPOINT
    asks "$1" get /requorum-login --keys-only && return 0
    case $why in
        *'authentication is not enabled'*)
            [ "$kind" = salvage ] || return 1
            unset ETCDCTL_USER ETCDCTL_PASSWORD
            asks "$1" get /requorum-login --keys-only
            return
            ;;
        *'ermission denied'*) why='' && return 0 ;;
    esac
    return 1
}

# The question is settled: the login works, or it was refused for good. A leader that changes is no refusal.
settled() {
    logs_in "$1" && return 0
    case $why in *'authentication failed'* | *'invalid user'* | *'not enabled'*) return 0 ;; esac
    return 1
}

login() { # ROLE ENDPOINT: asks until that is settled; true if it works, else $why says why not
    be "$1"
    await 30 settled "$2" || [ -n "$why" ] || why='it was refused without a word'
    [ -z "$why" ]
}

event() { # NAME ENDPOINTS ARGUMENTS…
    told=$1 # not `name`: every variable here is everybody's, and a second try would find that one overwritten
    shift
    # A token may not be known at once to a member that has just caught up.
    await 20 asks "$@" || fail "$told: $why"
    say "{\"event\": \"$told\", \"answer\": $answer}"
}

# Alarms lie in the data. They are said and taken away here, in the copy: with NOSPACE nothing could be written, and
# with CORRUPT nothing could be asked; whether the data counts is decided by who reads this.
disarm() { # ENDPOINT
    event alarms "$1" alarm list -w json
    case $answer in *'"alarms"'*) await 20 asks "$1" alarm disarm || fail "an alarm stays: $why" ;; esac
}

# The revision that all is asked at: leases expire by themselves, so members are never at one and the same for long.
pin() { # ENDPOINT REVISION: that of the second, or the one that the first has now
    at_revision=$2
    [ -n "$at_revision" ] || { await 20 asks "$1" get /requorum-login --keys-only -w json || fail "no revision: $why"; }
    [ -n "$at_revision" ] || at_revision=$(printf '%s' "$answer" | grep -o '"revision":[0-9]*' | head -n 1 | cut -d : -f 2)
    [ -n "$at_revision" ] || fail "no revision in its answer"
    say "{\"event\": \"pinned\", \"answer\": $at_revision}"
}

# No deadline of etcdctl's own: a database takes the time it takes.
saves() { # ENDPOINT
    etcdctl --endpoints="$1" snapshot save "$scratch/salvage.snap" >"$scratch/etcdctl.log" 2>&1
}

ask_salvage() {
    first=$home:$(head -n 1 "$scratch/members" | cut -d ' ' -f 3)
    login root "$first" || fail "root does not log in: $why"
    disarm "$first"
    await 20 saves "$first" || fail "the save failed: $(tail -n 1 "$scratch/etcdctl.log")"
    say '{"event": "saved"}'
    for port in $(cut -d ' ' -f 3 "$scratch/members"); do
        await 60 logs_in "$home:$port" || fail "a copy does not follow: $why"
    done
    pin "$first" ''
    event hashes "$all" endpoint hashkv --rev="$at_revision" -w json
    # The hash that a backup recorded; not told where that revision is compacted, or was never reached.
    [ ! -s "$scratch/revision" ] || ! asks "$all" endpoint hashkv --rev="$(cat "$scratch/revision")" -w json ||
        say "{\"event\": \"then\", \"answer\": $answer}"
    # A log that ends before what the database holds is a torn one: etcd would skip what is written next.
    await 20 asks "$first" put /requorum-probe "$kind" || fail "what is written is not kept: $why"
    await 20 asks "$first" get /requorum-probe --print-value-only && [ "$answer" = "$kind" ] ||
        fail "what was written is not there: its log ends before what its database holds"
}

ask_trial() {
    first=$home:$(head -n 1 "$scratch/members" | cut -d ' ' -f 3)
    for role in root $(ls "$scratch/logins" | grep -vx root); do
        login "$role" "$first"
        say "{\"event\": \"login\", \"role\": \"$role\", \"why\": \"$why\"}"
        [ "$role" != root ] || [ -z "$why" ] || exit 10 # all that follows is asked as root
    done
    be root
    for port in $(cut -d ' ' -f 3 "$scratch/members"); do
        await 30 logs_in "$home:$port" || fail "a member does not follow: $why"
    done
    disarm "$first"
    pin "$first" "$(cat "$scratch/revision")"
    event hashes "$all" endpoint hashkv --rev="$at_revision" -w json
    event users "$first" user list -w json
    event roles "$first" role list -w json
    while IFS= read -r prefix; do
        event count "$first" get "$prefix" --prefix --keys-only --limit=1 --rev="$at_revision" -w json
    done <"$scratch/prefixes"
}

make_network
check_tools
make_certificate
start_all first
await "$seconds" told_members || hindered "no copy answers its peers within $seconds s"
start_all later
await "$seconds" led || hindered "no leader within $seconds s"
say '{"event": "leader"}'
all=$(cut -d ' ' -f 3 "$scratch/members" | sed "s#^#$home:#" | paste -sd , -)
"ask_$kind"
say '{"event": "done"}'
