"""A renewed certificate is taken once it is whole; until then, and where it is none, the old one stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from certificate_files import DAY, Authority, expiry
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from ngpu.certificates import CertificateError, Certificates, Files, Standing
from ngpu.certificates.watch import LOOK_EVERY


class Watched:
    """A certificate in use, its files and the log."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.files = Files(folder / "fullchain.pem", folder / "privkey.pem")
        self.chain, self.key = self.authority.issue()
        self.write(self.chain, self.key)
        self.clock = Clock()
        self.clock.advance(expiry(self.chain) - 10 * DAY.total_seconds())
        self.away = 0.0
        self.certificates = Certificates(self.clock, self.wall)
        self.certificates.of(self.files)
        self.told: list[str] = []

    def wall(self) -> float:
        return self.clock.seconds() + self.away

    def write(self, chain: bytes | None = None, key: bytes | None = None) -> None:
        for file, content in ((self.files.certificate, chain), (self.files.key, key)):
            if content is not None:
                file.write_bytes(content)

    def look(self) -> Standing:
        self.clock.advance(LOOK_EVERY)
        return next(iter(self.certificates.standings()))

    def note(self, event: LogEvent) -> None:
        if "certificate" in (text := formatEvent(event)):
            self.told.append(text)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_renewal_in_two_steps_is_taken_when_both_are_there(watched: Watched) -> None:
    globalLogPublisher.addObserver(watched.note)
    try:
        assert watched.look() == Standing(str(watched.files.certificate), expiry(watched.chain), False)
        chain, key = watched.authority.issue(DAY * 60)
        watched.write(chain=chain[:200])
        assert watched.look() == Standing(str(watched.files.certificate), expiry(watched.chain), True)
        watched.write(chain=chain)
        assert watched.look().refused
        watched.look()
        watched.write(key=key)
        assert watched.look() == Standing(str(watched.files.certificate), expiry(chain), False)
    finally:
        globalLogPublisher.removeObserver(watched.note)
    assert len(watched.told) == 3  # each state once
    assert "fullchain.pem holds no certificate in PEM, or a broken one: connections still get" in watched.told[0]
    assert "does not belong to the certificate" in watched.told[1]
    assert "is renewed: new connections get SHA-256 " in watched.told[2]


def test_one_that_is_over_or_not_yet_valid_is_not_taken(watched: Watched) -> None:
    """The second is, once its time has come, without a further change."""
    watched.write(*watched.authority.issue(DAY * 10))
    assert watched.look() == Standing(str(watched.files.certificate), expiry(watched.chain), True)
    chain, key = watched.authority.issue(DAY * 60, begins=DAY * 25)
    watched.write(chain, key)
    assert watched.look().expires == expiry(watched.chain)
    watched.clock.advance(DAY.total_seconds() * 6)
    assert watched.look() == Standing(str(watched.files.certificate), expiry(chain), False)


def test_links_that_are_moved_and_files_that_go(watched: Watched, tmp_path: Path) -> None:
    """As certbot renews (links), and as Kubernetes does (a rename); with the same sizes and times."""
    chain, key = watched.authority.issue(DAY * 60)
    before = watched.files.certificate.stat()
    for file, content in ((watched.files.certificate, chain), (watched.files.key, key)):
        kept = tmp_path / f"new-{file.name}"
        kept.write_bytes(content)
        os.utime(kept, ns=(before.st_atime_ns, before.st_mtime_ns))
        file.unlink()
        file.symlink_to(kept)
    assert watched.look().expires == expiry(chain)
    watched.files.key.unlink()
    assert watched.look() == Standing(str(watched.files.certificate), expiry(chain), True)


def test_what_was_renewed_while_the_machine_was_paused_is_taken(watched: Watched) -> None:
    """The clock of timers goes on from where it was; what is valid is a matter of everybody's."""
    watched.away = DAY.total_seconds()
    chain, key = watched.authority.issue(DAY * 60, begins=DAY * 20.5)  # half a day after the clock of timers
    watched.write(chain, key)
    assert watched.look() == Standing(str(watched.files.certificate), expiry(chain), False)


def test_an_expired_one_is_used_while_there_is_no_better(watched: Watched) -> None:
    """A restart must not end what still serves; but files that hold nothing are an error."""
    watched.clock.advance(DAY.total_seconds() * 20)
    certificates = Certificates(watched.clock, watched.wall)
    assert certificates.of(watched.files).standing.expires < watched.clock.seconds()
    assert certificates.of(watched.files) is certificates.of(watched.files)
    certificates.stop()
    watched.write(key=b"")
    with pytest.raises(CertificateError):
        certificates.of(watched.files._replace(chain=watched.files.certificate))
    watched.certificates.stop()
    assert watched.clock.getDelayedCalls() == []
