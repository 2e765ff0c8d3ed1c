"""An etcd that is configured by flags or environment says there what its configuration file said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from compose import layouts

CONFIG = yaml.safe_load("""
name: etcd-1
data-dir: /var/lib/etcd/dh/lab-1
listen-client-urls: https://10.0.0.11:2379,https://127.0.0.1:2379
client-transport-security: {cert-file: /etc/server.crt}
peer-transport-security: {cert-file: /etc/peer.crt, client-cert-auth: true}
heartbeat-interval: 100
""")
UNIT = "[Service]\nUser=etcd\nExecStart=/usr/bin/etcd --config-file /etc/config.yaml\nRestart=on-failure\n"


def test_a_unit_has_every_setting_as_a_flag() -> None:
    assert layouts.unit(UNIT, CONFIG, "flags").splitlines() == [
        "[Service]",
        "User=etcd",
        (
            "ExecStart=/usr/bin/etcd --name=etcd-1 --data-dir=/var/lib/etcd/dh/lab-1"
            " --listen-client-urls=https://10.0.0.11:2379,https://127.0.0.1:2379 --cert-file=/etc/server.crt"
            " --peer-cert-file=/etc/peer.crt --peer-client-cert-auth=true --heartbeat-interval=100"
        ),
        "Restart=on-failure",
    ]


def test_a_unit_has_every_setting_in_its_environment() -> None:
    lines = layouts.unit(UNIT, CONFIG, "environment").splitlines()
    assert lines[2:4] == ["Environment=ETCD_NAME=etcd-1", "Environment=ETCD_DATA_DIR=/var/lib/etcd/dh/lab-1"]
    assert "Environment=ETCD_PEER_CLIENT_CERT_AUTH=true" in lines
    assert lines[-2:] == ["ExecStart=/usr/bin/etcd", "Restart=on-failure"]


@pytest.mark.parametrize("layout", ["vendor", "flags", "environment"])
def test_a_script_finds_data_and_log_wherever_they_are_configured(tmp_path: Path, layout: str) -> None:
    config, unit = tmp_path / "config.yaml", tmp_path / "unit"
    said = {**CONFIG, "wal-dir": "/srv/etcd/wal"}
    unit.write_text(UNIT if layout == "vendor" else layouts.unit(UNIT, said, layout))
    if layout == "vendor":
        config.write_text(yaml.safe_dump(said))
    script = layouts.PLACES.replace(layouts.CONFIG, str(config)).replace(layouts.UNIT_FILE, str(unit))
    found = subprocess.run(["sh", "-ec", f'{script} echo "$data $wal"'], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["/var/lib/etcd/dh/lab-1", "/srv/etcd/wal"]
