"""What `make run` starts, on other ports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import ROOT, Gateway, find_free_port, running


@contextmanager
def demo_on_other_ports(folder: Path, more: str = "") -> Iterator[Gateway]:
    """The gateway of config/demo.yaml and its worker; what they keep is in the folder, in ``var`` as there.

    :param more: lines that are added to the configuration.
    """
    with running(folder) as processes:
        worker = processes.start_worker()
        text = (ROOT / "config/demo.yaml").read_text()
        public, admin = find_free_port(), find_free_port()
        for known, used in (
            ("tcp:8080:", f"tcp:{public}:"),
            ("tcp:8081:", f"tcp:{admin}:"),
            ("{8080: 18080}", f"{{8080: {worker.port}}}"),
            ("../var/", f"{folder}/var/"),
        ):
            assert known in text
            text = text.replace(known, used)
        yield processes.start_gateway(text + more)
