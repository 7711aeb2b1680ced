"""ngpu beside other proxies, in turns, the server alone on one core: ``make bench``, or ``python bench/compare.py``.

``--quick`` is one short turn. docs/performance/README.md says what is measured, and how to read it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gateway import ROOT
from loads import Failed, idle, rate, transfer
from processes import Process, find_free_port
from report import Runs, last, picture, regressions, text
from servers import NAMES, Cores, cores, missing, running

FOLDER = ROOT / "docs/performance"
PACKAGES = ("twisted", "httptools", "aiohttp", "starlette", "uvicorn", "fastapi", "httpx")


def turn(name: str, worker: int, folder: Path, where: Cores, options: argparse.Namespace) -> dict[str, Any]:
    """All loads at one server that was just started; what fails is said, and left out."""
    body = folder / "body.json"
    body.write_text(json.dumps({"btc_address": "", "data": {"prompt": "night", "init_images": ["A" * 940]}}))
    result: dict[str, Any] = {}
    with running(name, worker, folder / f"{name}-{time.monotonic_ns()}", where) as server:
        loads: dict[str, Any] = {"idle": lambda: idle(server, body, options.idle)}
        loads |= {f"c{n}": lambda n=n: rate(server, body, n, options.seconds) for n in options.connections}
        if name != "ngpu-sync":  # an envelope has no use for bytes
            loads |= {way: lambda way=way: transfer(server, way, options.mebibytes) for way in ("down", "up")}
        for load, measure in loads.items():
            try:
                result[load] = measure()
            except Failed as failed:
                print(f"  *** {name} {load}: {failed}", file=sys.stderr, flush=True)
    return result


def about(where: Cores) -> dict[str, Any]:
    """Machine, date, versions and load average."""
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": models[0] if models else platform.machine(), "cpus": os.cpu_count()},
        "kernel": platform.release(),
        "versions": versions,
        "cores": where._asdict(),
        "load_average_before": os.getloadavg(),
    }


def committed() -> list[str]:
    """Names of the runs that are in git."""
    done = subprocess.run(["git", "ls-files", "."], cwd=FOLDER, capture_output=True, text=True)
    return done.stdout.split()


def main() -> int:
    """Measure, print, write, compare; 1 when a load of ngpu's own failed: what a peer cannot do is said."""
    parser = argparse.ArgumentParser(description="Measure ngpu beside other proxies.")
    parser.add_argument("--quick", action="store_true", help="one short turn, which is not written")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each load with requests (4)")
    parser.add_argument("--servers", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: docs/performance/DATE.json")
    options = parser.parse_args()
    options.connections, options.mebibytes, options.idle = [1, 32, 256], 256, 1000
    if options.quick:
        options.repeats, options.seconds, options.mebibytes, options.idle = 1, 1, 64, 200
    names = ["ngpu", *(name for name in options.servers if name != "ngpu" and name not in missing())]
    for name in missing():
        print(f"*** {name} IS NOT INSTALLED: the table goes without it.", flush=True)
    where = cores()
    if where.server == where.load:
        print("*** ONLY ONE PROCESSOR: server and load share it, so look at processor time only.", flush=True)
    os.sched_setaffinity(0, {where.load})
    information, port = about(where), find_free_port()
    runs: Runs = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "bench/plain_worker.py"), str(port)]
        worker = Process(command, Path(folder) / "worker.log", f"http://127.0.0.1:{port}/").start()
        try:
            for number in range(options.repeats):
                for name in names:
                    runs[name].append(turn(name, port, Path(folder), where, options))
                    print(f"  {number + 1}/{options.repeats} {name}", flush=True)
        finally:
            worker.kill9()
    print("\n" + text(runs))
    before = last(FOLDER, committed())
    if before:
        worse = list(regressions(runs, before))
        print(f"\nAgainst {before.name}: " + ("; ".join(worse) if worse else "no ratio is more than 15 % worse"))
    file = options.json or (None if options.quick else FOLDER / f"{information['date'][:10]}.json")
    if file:
        information["load_average_after"] = os.getloadavg()
        shown = {name: getattr(options, name) for name in ("repeats", "seconds", "connections", "mebibytes", "idle")}
        file.write_text(json.dumps({"about": information, "options": shown, "runs": runs}, indent=1) + "\n")
        file.with_suffix(".svg").write_text(picture(runs))
    # a load that failed has no entry: the envelope has all but the transfers
    wanted = {"ngpu": len(options.connections) + 3, "ngpu-sync": len(options.connections) + 1}
    return int(any(len(one) < wanted[name] for name in wanted if name in runs for one in runs[name]))


if __name__ == "__main__":
    sys.exit(main())
