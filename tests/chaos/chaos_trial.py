"""One trial: so many gateways on a store, customers, faults for a while, and the verdict.

``chaos_trial.py --minutes 2 --mode redis --gateways 3 --seed 7`` prints the seed first. The same seed gives the same
faults in the same order.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "api")]

from chaos_customers import Customers  # noqa: E402
from chaos_faults import schedule  # noqa: E402
from chaos_house import House  # noqa: E402
from chaos_verdict import Verdict  # noqa: E402
from receiver import Receiver  # noqa: E402
from tls_files import write_certificate  # noqa: E402

Say = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What is left of a trial."""

    seed: int
    mode: str
    gateways: int
    seconds: float
    faults: dict[str, int]
    skipped: dict[str, str]
    accepted: int
    accounted: int
    ends: dict[str, int]
    calls: dict[str, int]
    repeated: int
    webhooks: int
    broken: list[str]
    forgotten: list[str]
    failovers: list[float]


def trial(
    folder: Path, seed: int, seconds: float, mode: str, gateways: int, pace: float = 0.25, say: Say = print
) -> Report:
    """Run it; ``broken`` of the report is empty where every promise was kept."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate = write_certificate(folder, "127.0.0.1", timedelta(days=400))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    began = time.monotonic()
    with (
        Receiver(tls=tls) as receiver,
        House(folder, mode, gateways, {"SSL_CERT_FILE": str(certificate)}) as house,
    ):
        faults = schedule(seed, seconds, mode, house.targets)
        with Customers(house.urls, folder / "customers.journal", seed, 4, receiver.url, pace) as customers:
            for fault in faults:
                time.sleep(fault.after)
                say(f"{time.monotonic() - began:7.1f} s  {' '.join(fault.what)} {fault.nth} ({fault.length:g} s)")
                house.suffer(fault)
            time.sleep(1)
        verdict = Verdict(house, customers.promised, receiver)
        verdict.reach()
        return Report(
            seed,
            mode,
            gateways,
            round(time.monotonic() - began, 1),
            dict(house.tally),
            house.skipped,
            len(customers.promised.markers),
            verdict.accounted,
            dict(verdict.ends),
            dict(customers.promised.counts),
            verdict.repeated,
            len(receiver.deliveries),
            verdict.broken,
            verdict.forgotten,
            house.pair.lasted if house.pair is not None else [],
        )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--minutes", type=float, default=2.0, help="of faults, in each mode")
    parser.add_argument("--mode", choices=["sqlite", "redis", "sentinel", "both"], default="both")
    parser.add_argument("--gateways", type=int, default=3, help="on Redis; SQLite has one")
    parser.add_argument("--keep", action="store_true", help="leave the logs where they are")
    parser.add_argument("--report", type=Path, help="a file to which a line of JSON is appended for each mode")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    failed = False
    for mode in ["sqlite", "redis"] if options.mode == "both" else [options.mode]:
        folder = Path(tempfile.mkdtemp(prefix="ngpu-chaos-"))
        gateways = options.gateways if mode != "sqlite" else 1
        report = trial(folder / mode, options.seed, options.minutes * 60, mode, gateways, say=_say)
        print(json.dumps(report.__dict__, indent=1), flush=True)
        if options.report:
            with options.report.open("a") as file:
                file.write(json.dumps(report.__dict__) + "\n")
        failed = failed or bool(report.broken)
        if report.broken or options.keep:
            print(f"the logs are in {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
