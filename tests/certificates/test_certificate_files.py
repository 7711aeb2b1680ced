"""What can be used as a certificate and its key, and what is said of all else."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from certificate_files import DAY, Authority, expiry, key_pem
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from ngpu.certificates import CertificateError, Files, load, tls_listener


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def written(folder: Path, chain: bytes, key: bytes) -> Files:
    files = Files(folder / "fullchain.pem", folder / "privkey.pem")
    files.certificate.write_bytes(chain)
    files.key.write_bytes(key)
    return files


def test_a_chain_and_its_key(tmp_path: Path, authority: Authority) -> None:
    chain, key = authority.issue()
    pair = load(written(tmp_path, chain, key))
    assert pair.expires == expiry(chain)
    assert len(pair.options.extraCertChain) == 1
    pair.check(pair.expires - 1)
    with pytest.raises(CertificateError, match=r"fullchain\.pem expired on 20"):
        pair.check(pair.expires)
    with pytest.raises(CertificateError, match="is valid from 20"):
        pair.check(pair.begins - 1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_file_for_both_and_a_chain_beside_it(tmp_path: Path, authority: Authority, order: tuple[int, int]) -> None:
    chain, key = authority.issue()
    own = chain.removesuffix(authority.middle)
    file = tmp_path / "server.pem"
    file.write_bytes(b"".join((own, key)[index] for index in order))
    (tmp_path / "chain.pem").write_bytes(authority.middle)
    assert len(load(Files(file, file, tmp_path / "chain.pem")).options.extraCertChain) == 1
    assert load(Files(file, file)).options.extraCertChain == []


def test_what_cannot_be_used_is_told_with_its_file(tmp_path: Path, authority: Authority) -> None:
    chain, key = authority.issue()
    _, other = authority.issue()
    locked = key_pem(load_pem_private_key(key, None), b"secret")
    for broken, match in (
        ((chain[:300], key), "fullchain.pem holds no certificate in PEM"),
        ((b"", key), "fullchain.pem holds no certificate in PEM"),
        ((chain, key[:100]), "privkey.pem holds no private key in PEM"),
        ((chain, key.replace(b"M", b"N", 3)), "privkey.pem holds a broken private key"),
        ((chain, locked), "privkey.pem is encrypted"),
        ((chain, other), "the key .*privkey.pem does not belong to the certificate .*fullchain.pem"),
        ((b"x" * 2_000_000, key), "fullchain.pem is larger than 1 MiB"),
    ):
        with pytest.raises(CertificateError, match=match):
            load(written(tmp_path, *broken))
    written(tmp_path, chain, key).key.unlink()
    with pytest.raises(CertificateError, match=r"the key .*privkey.pem cannot be read \(No such file or directory\)"):
        load(Files(tmp_path / "fullchain.pem", tmp_path / "privkey.pem"))
    assert authority.issue(DAY)[0] != chain


def test_what_is_no_file_is_refused_at_once(tmp_path: Path, authority: Authority) -> None:
    """A pipe that nobody writes to would hold the reactor, and with it the gateway, for ever."""
    files = written(tmp_path, *authority.issue())
    for file in (files.certificate, files.key):
        content = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(CertificateError, match="is no file"):
            load(files)
        file.unlink()
        file.symlink_to(file)
        with pytest.raises(CertificateError, match="cannot be read"):
            load(files)
        file.unlink()
        file.write_bytes(content)
    files.certificate.unlink()
    files.certificate.mkdir()
    with pytest.raises(CertificateError, match="cannot be read"):
        load(files)


@pytest.mark.filterwarnings("ignore:Parsed a")  # cryptography says so of what it takes for now
def test_a_certificate_with_a_broken_byte_is_refused_or_taken(tmp_path: Path, authority: Authority) -> None:
    """Whatever that byte is: any other error would go past those who know what to do without a certificate."""
    chain, key = authority.issue()
    own = x509.load_pem_x509_certificates(chain)[0].public_bytes(Encoding.DER)
    refused = 0
    for place in range(len(own)):
        broken = base64.encodebytes(own[:place] + bytes((own[place] ^ 0x1F,)) + own[place + 1 :])
        pem = b"-----BEGIN CERTIFICATE-----\n" + broken + b"-----END CERTIFICATE-----\n"
        try:
            load(written(tmp_path, pem, key))
        except CertificateError:
            refused += 1
    assert refused > len(own) // 4


def test_descriptions() -> None:
    files = Files(Path("/c"), Path("/k"))
    for text, plain, expected in (
        ("ssl:443:privateKey=/k:certKey=/c", "tcp:443", files),
        ("ssl:443:/k:/c", "tcp:443", files),
        ("ssl:port=443:privateKey=/k", "tcp:443", Files(Path("/k"), Path("/k"))),
        ("ssl:443:/k:/c:interface=\\:\\:1:backlog=9", "tcp:443:interface=\\:\\:1:backlog=9", files),
        ("ssl:443:/k:/c:extraCertChain=/m", "tcp:443", Files(Path("/c"), Path("/k"), Path("/m"))),
        ("systemd:domain=INET:name=web:privateKey=/k:certKey=/c", "systemd:domain=INET:name=web", files),
    ):
        found = tls_listener(text)
        assert found is not None
        assert (found.files, found.plain) == (expected, plain)
    assert tls_listener("tcp:80") is None
    assert tls_listener("systemd:domain=INET:index=0") is None
