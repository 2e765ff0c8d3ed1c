# Runs one or two of the vendor's lines where nothing that they write is real, and lists what they wrote.
# The unit that runs this gives a mount namespace whose / is read-only, no network and devices of its own; the rest is
# here: overlays whose upper layers lie in a tmpfs of the namespace, empty /run and /dev/shm, and no way back.
# Arguments: how many words the first line has, then the words of both. Each record ends with a NUL.
set -u
refuse() {
    printf 'refused %s\0' "$*"
    exit 0
}
base=/mnt
for tool in findmnt setpriv unshare; do
    command -v $tool >/dev/null || refuse "no $tool there"
done
mount --make-rprivate / && mount -t tmpfs -o size=512m,mode=0700 requorum $base || refuse "no tmpfs to write into"
mkdir $base/low $base/new $base/old || refuse "no room in the tmpfs"
mount --rbind / $base/low || refuse "no view of what is there"

# The directories, and every file system that is mounted below one, outermost first.
findmnt -rno TARGET | sort >$base/mounts
number=0
for top in /etc /var /opt /usr/illumon /usr/lib/systemd /root /home; do
    top=$(readlink -f $top) && [ -d "$top" ] || continue
    { echo "$top" && grep "^$top/" $base/mounts; } | while IFS= read -r at; do
        [ ! -d "$base/low$at" ] || echo "$at"
    done
done | sort -u >$base/over
while IFS= read -r at; do
    number=$((number + 1))
    case $at in *[!A-Za-z0-9/._-]*) refuse "$at, mounted there, has a name that no overlay takes" ;; esac
    mkdir -p $base/new/$number/up $base/new/$number/work
    chmod --reference="$at" $base/new/$number/up && chown --reference="$at" $base/new/$number/up
    mount -t overlay -o "lowerdir=$base/low$at,upperdir=$base/new/$number/up,workdir=$base/new/$number/work" overlay "$at" ||
        refuse "no overlay over $at"
    echo "$at" >$base/new/$number/at
done <$base/over
for at in /tmp /var/tmp /run /dev/shm /dev/mqueue /dev/hugepages; do
    [ -d $at ] && [ ! -L $at ] || continue
    number=$((number + 1))
    mkdir -p $base/new/$number/up && chmod 1777 $base/new/$number/up
    mount --bind $base/new/$number/up $at || refuse "no $at of its own"
    echo $at >$base/new/$number/at
done

# As process 1 of a namespace: whatever it leaves behind ends with it. What could undo the above is taken from it.
inside='
mount -t tmpfs -o ro,size=4k none /mnt && mount -o remount,bind,ro /proc || exit 125
no=-sys_admin,-sys_module,-sys_rawio,-sys_boot,-sys_time,-sys_ptrace,-mknod,-net_admin,-syslog,-mac_admin,-mac_override
exec setpriv --bounding-set $no --inh-caps $no -- "$@"'
try() {
    unshare --mount --pid --fork --kill-child --mount-proc --ipc --uts sh -c "$inside" sh "$@" \
        </dev/null >$base/said 2>&1
    code=$?
    [ $code -ne 125 ] || refuse "$(tail -n 1 $base/said)"
    printf 'ended %s %s\0' $code "$(tail -c 2000 $base/said)"
}
first=$1
shift
if [ $# -eq "$first" ]; then
    try "$@"
else
    n=0
    for word; do # the words of the first line go behind those of the second
        n=$((n + 1))
        [ $n -gt 1 ] || set --
        set -- "$@" "$word"
        if [ $n -eq "$first" ]; then
            try "$@"
            [ $code -eq 0 ] || break
            set --
        fi
    done
    [ $n -le "$first" ] || try "$@"
fi

tell='
at=$1 low=$2$1
shift 2
for path; do
    there=$at/$path
    kind=$(stat -c %F "$path") mode=$(stat -c "%a %u:%g %s" "$path") how=new
    [ ! -e "/mnt/low$there" ] && [ ! -L "/mnt/low$there" ] || how=changed
    if [ "$kind" = "character special file" ]; then
        how=gone
    elif [ -d "$path" ] && [ ! -L "$path" ] && [ $how = changed ]; then
        [ "$(stat -c "%a %u:%g" "/mnt/low$there")" != "$(stat -c "%a %u:%g" "$path")" ] || continue
    fi
    printf "wrote %s\t%s\t%s\t%s\0" "$how" "$kind" "$mode" "$there"
    case $kind,$path in
        regular*,*.tgz | regular*,*.tar.gz | regular*,*.tar)
            tar --numeric-owner --quoting-style=escape -tvf "$path" 2>/dev/null | while IFS= read -r line; do
                printf "holds %s\0" "$line"
            done
            ;;
    esac
done'
for each in $base/new/*; do
    cd "$each/up" && find . -mindepth 1 -exec sh -c "$tell" sh "$(cat "$each/at")" $base/low {} +
done
printf 'done\0'
