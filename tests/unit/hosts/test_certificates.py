"""Installed certificates, by real ones that openssl makes: what is wrong with them is read, what is right is silent."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.hosts import certificates
from requorum.hosts.certificates import Certificate, Checked
from requorum.hosts.question import Question
from requorum.refusal import Refusal
from tests.unit.build import refused_by, understood

IP = "10.0.0.11"
T = TypeVar("T")


def make(place: Path, name: str, *options: str, signer: str | None = None) -> None:
    files = ["-keyout", f"{place}/{name}.key", "-out", f"{place}/{name}.crt"]
    by = ["-CA", f"{place}/{signer}.crt", "-CAkey", f"{place}/{signer}.key"] if signer else []
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    subprocess.run([*new, "-subj", f"/CN={name}", *files, *by, *options], check=True, capture_output=True)


def expired(place: Path, name: str, options: list[str]) -> None:
    """`openssl req` cannot date one back, `openssl ca` can."""
    request = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    made = ["-subj", f"/CN={name}", "-keyout", f"{place}/{name}.key", "-out", f"{place}/{name}.csr"]
    subprocess.run([*request, *made, *options], check=True, capture_output=True)
    (place / "index").touch()
    (place / "serial").write_text("01\n")
    (place / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=x\n[x]\nserial={place}/serial\ndatabase={place}/index\nnew_certs_dir={place}\npolicy=p\n"
        "copy_extensions=copyall\n[p]\ncommonName=supplied\n"
    )
    subprocess.run(
        [
            "openssl",
            "ca",
            "-batch",
            "-config",
            f"{place}/ca.cnf",
            "-cert",
            f"{place}/ca.crt",
            "-md",
            "sha256",
            "-keyfile",
            f"{place}/ca.key",
            "-in",
            f"{place}/{name}.csr",
            "-out",
            f"{place}/{name}.crt",
            "-notext",
            "-startdate",
            "20200101000000Z",
            "-enddate",
            "20210101000000Z",
        ],
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("certificates")
    san = ["-addext", f"subjectAltName=IP:{IP}"]
    make(place, "ca")
    make(place, "other-ca")
    make(place, "good", *san, signer="ca")
    make(place, "foreign", *san, signer="other-ca")
    make(place, "elsewhere", "-addext", "subjectAltName=IP:10.9.9.9", signer="ca")
    expired(place, "old", san)
    (place / "torn.crt").write_text("-----BEGIN CERTIFICATE-----\nMII")
    return place


def checked(place: Path, name: str, key: str | None = None, address: str = IP) -> Checked:
    paths = (f"{place}/{name}.crt", f"{place}/{key or name}.key", f"{place}/ca.crt")
    return answered(certificates.ask_certificate("h", Certificate(*paths), address))


def answered(question: Question[T]) -> T:
    """What this machine itself says."""
    said = subprocess.run(question.commands[0].argv, capture_output=True, text=True, check=False)
    return understood(question, said.stdout, code=said.returncode, stderr=said.stderr)


def test_a_good_one_has_no_problem_and_its_dates(place: Path) -> None:
    found = checked(place, "good")
    assert found.problems == () and not found.out_of_date
    assert found.begins and found.ends and found.begins <= datetime.now(UTC) < found.ends


@pytest.mark.parametrize(
    ("name", "key", "says"),
    [
        ("foreign", "foreign", "unable to get local issuer certificate"),
        ("elsewhere", "elsewhere", "IP address mismatch"),
        ("old", "old", "certificate has expired"),
        ("good", "old", "not of this key"),
        ("torn", "good", "cannot be read"),
        ("missing", "good", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(place: Path, name: str, key: str, says: str) -> None:
    found = checked(place, name, key)
    assert len(found.problems) == 1 and says in found.problems[0]
    assert found.out_of_date is (name == "old")


@pytest.mark.parametrize(("address", "problems"), [("", ()), ("etcd-1", ("hostname mismatch",)), (IP, ())])
def test_a_name_is_checked_as_a_name_and_nothing_as_nothing(
    place: Path, address: str, problems: tuple[str, ...]
) -> None:
    assert tuple(problem.lower() for problem in checked(place, "good", address=address).problems) == problems


@pytest.mark.parametrize(
    ("name", "says"), [("good", ""), ("foreign", "unable to get local issuer"), ("elsewhere", "IP address mismatch")]
)
def test_an_archived_one_is_checked_beside_its_ca_for_the_members_address(place: Path, name: str, says: str) -> None:
    installed = Certificate(f"/etc/etcd/{name}.crt", f"/etc/etcd/{name}.key", "/etc/etcd/ca.crt")
    found = answered(certificates.ask_archived("h", str(place), installed, IP))
    assert found.path == f"{place}/{name}.crt"
    assert (not found.problems) if not says else "verification failed" in found.problems[0]


def test_the_ends_of_several_are_read_by_path(place: Path) -> None:
    paths = [f"{place}/{name}.crt" for name in ("old", "torn", "missing")]
    old, torn, missing = answered(certificates.ask_ends("h", paths, "-maxdepth", "0"))
    assert (old.path, old.problems, old.ends) == (paths[0], (), datetime(2021, 1, 1, tzinfo=UTC))
    assert (torn.path, torn.problems) == (paths[1], ("no certificate that openssl can read",))
    assert missing.path == "" and "No such file" in missing.problems[0]


def test_one_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(Refusal, match="h: tells of '/etc/other', which was not asked"):
        understood(certificates.ask_ends("h", ["/etc/etcd"]), "/etc/other\n")


ONE = Certificate("/c/peer.crt", "/c/peer.key", "/c/ca.crt")
QUESTIONS = [
    certificates.ask_certificate("etcd-1", ONE, IP),
    certificates.ask_archived("etcd-1", "/read", ONE, IP),
    certificates.ask_ends("etcd-1", ["/c"]),
]
LIKELY = ("notBefore=x\n", "notAfter=Jan  1 00:00:00 2026 GMT\n", "notAfter=\n", "error 10: x\n", "/c/a\n", "/c/../x\n")


@pytest.mark.parametrize("question", QUESTIONS, ids=["installed", "archived", "ends"])
@settings(max_examples=50, deadline=None)
@given(
    text=st.text(max_size=2000) | st.lists(st.sampled_from(LIKELY) | st.text(max_size=20)).map("".join),
    code=st.sampled_from([0, 2]),
)
def test_whatever_a_host_says_is_a_value_or_a_refusal_that_names_it(
    question: Question[Any], text: str, code: int
) -> None:
    with refused_by("etcd-1"):
        understood(question, text, code=code, stderr=text)
