"""Machines as other distributions and their administrators make them: done once to a lab that has just been formed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from compose import apt, image
from compose.nodes import Node, Nodes, on_each
from compose.state import Role

KINDS = ("debian", "rhel")
BANNER = "Welcome to production!"
SECURE_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"  # sudo's own on RHEL: without /usr/local/bin
GROUP = "domain users"  # as a directory service has it
MADE = "/etc/lab-hosts-like"

# $1: the umask that sudo gives root.
_RHEL = rf"""
[ ! -e {MADE} ] || exit 0
for tool in ip ss; do
    mv "$(readlink -f "$(command -v $tool)")" /root/$tool.real
    rm -f /bin/$tool /sbin/$tool /usr/bin/$tool
    mv /root/$tool.real /usr/sbin/$tool
done

grep -q '^{GROUP}:' /etc/group || echo '{GROUP}:x:1513:' >>/etc/group
for account in ops irisadmin; do
    old=$(id -g $account)
    usermod -g 1513 $account
    find / -xdev -gid "$old" -user $account -exec chgrp -h 1513 {{}} +
done

proxy=http://127.0.0.1:9
for name in http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY; do
    echo "$name=$proxy" >>/etc/environment
done
for home in /root /home/ops; do
    echo "proxy = $proxy" >$home/.curlrc
    chmod 0644 $home/.curlrc
done
cat >/root/like-rhel <<END
Defaults secure_path="{SECURE_PATH}"
Defaults env_keep += "http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY"
Defaults umask=$1
END
visudo -cqf /root/like-rhel
chmod 0440 /root/like-rhel
mv /root/like-rhel /etc/sudoers.d/like-rhel

sed -i "1i echo '{BANNER}'; umask 027" /home/ops/.bashrc
echo "echo '{BANNER}'; umask 027" >/home/ops/.tcshrc

cp /usr/sbin/sshd /usr/sbin/sshd-session
cp /etc/pam.d/sshd /etc/pam.d/sshd-session
mkdir -p /etc/systemd/system/ssh.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/sbin/sshd-session -D\n' >/etc/systemd/system/ssh.service.d/session.conf
systemctl daemon-reload
systemctl restart ssh.service
touch {MADE}
"""
_TCSH = "command -v tcsh >/dev/null || dpkg --install --force-depends /root/tcsh.deb; usermod -s /usr/bin/tcsh ops"


def make(nodes: Nodes, kind: str) -> None:
    """Paths, sudo, groups, a proxy, banners and process names of another kind; the second machine's shell is tcsh."""
    if kind != "rhel":
        return
    _install_tcsh(nodes.all[1])
    on_each(nodes.all, _like_rhel)


def _like_rhel(node: Node) -> None:
    umask = "0077" if node.role is Role.MEMBER else "0027"
    node.run(["bash", "-ec", _RHEL, "sh", umask], timeout=120)


def _install_tcsh(node: Node) -> None:
    if node.run(["test", "-e", MADE], check=False).rc == 0:
        return
    with tempfile.TemporaryDirectory() as scratch:
        (deb,) = apt.download(["tcsh"], image.BASE_SUITE, Path(scratch))
        node.put("/root/tcsh.deb", deb.read_bytes())
    node.run(["bash", "-ec", _TCSH], timeout=120)
