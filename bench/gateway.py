"""How much the gateway costs: the same load straight at a worker and through the gateway, in turns.

``python bench/gateway.py [--repeats 5] [--seconds 5] [--json FILE]``. Three kinds of load:

- ``straight``: at the worker, which is also the ceiling of the load generator;
- ``sync``: the app ``POST /user/img2img``, which waits for the worker;
- ``async``: ``POST /user/schedulingTask`` with ``taskMode=Async``, each answered once its record is durable, while the
  tasks are worked on as fast as they can be.

Each measurement of the gateway begins with a new process and an empty database. Compare numbers of one run only: what
else a machine does changes them by more than most changes of the code.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the tests' own way to run a gateway
os.environ["NGPU_TRUE_STARTS"] = "1"  # but as users start it, not by fork

from processes import Gateway, find_free_port  # noqa: E402

WORKSPACE = "367614711220405248"
NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
TICK = os.sysconf("SC_CLK_TCK")
KINDS = {
    "straight": "/sdapi/v1/img2img",
    "sync": "/user/img2img",
    "async": "/user/schedulingTask?paramUrl=sdapi/v1/img2img&paramPort=8080&taskMode=Async",
}


def config(worker: int) -> dict[str, Any]:
    """A gateway in front of that port, with limits that this load does not reach."""
    workspace = {
        "id": WORKSPACE,
        "name": "bench",
        "ports": {8080: 7860},
        "upstream": [{"node": NODE, "ports": {8080: worker}}],
        "health": {"path": "/", "interval": "1s"},
        "path": "sdapi/v1/img2img",
        "slots": 64,
        "queue": {"limit": 10_000_000},
    }
    app = {"adapter": "passthrough", "workspace": WORKSPACE, "path": "sdapi/v1/img2img", "port": 8080, "mode": "sync"}
    return {
        "nodes": [{"address": NODE, "host": "127.0.0.1"}],
        "workspaces": [workspace],
        "apps": {"img2img": app},
    }


@contextmanager
def fixed_worker() -> Iterator[int]:
    """The fixed worker's port, while it runs."""
    port = find_free_port()
    process = subprocess.Popen([sys.executable, str(ROOT / "bench/fixed_worker.py"), str(port)])
    try:
        time.sleep(0.5)
        yield port
    finally:
        process.kill()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_mib(pid: int) -> float:
    """The most memory that a process ever had resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


class Bench:
    """One run; its files are in ``folder``."""

    def __init__(self, options: argparse.Namespace, worker: int, folder: Path) -> None:
        self.options = options
        self.worker = worker
        self.folder = folder
        self.body = folder / "body.json"
        self.body.write_text(json.dumps({"btc_address": "", "data": {"prompt": "night", "init_images": ["A" * 940]}}))

    def load(self, url: str, seconds: float, warm_up: float) -> dict[str, Any]:
        """Run the generator in a process of its own."""
        command = [sys.executable, str(ROOT / "bench/load.py"), url, "--body", str(self.body)]
        command += ["--connections", str(self.options.connections), "--seconds", str(seconds)]
        command += ["--warm-up", str(warm_up), "--header", "Content-Type: application/json"]
        command += ["--header", f"Authorization: Bearer {WORKSPACE}"]
        result: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return result

    def measure(self, kind: str, turn: int) -> dict[str, Any]:
        """One kind, once."""
        seconds = self.options.seconds
        if kind == "straight":
            return self.load(f"http://127.0.0.1:{self.worker}{KINDS[kind]}", seconds, 1.0)
        gateway = Gateway(config(self.worker), self.folder / f"{kind}{turn}").start()
        try:
            self.load(gateway.url + KINDS[kind], 0.2, 1.0)
            before = cpu_seconds(gateway.pid)
            result = self.load(gateway.url + KINDS[kind], seconds, 0.0)
            used = cpu_seconds(gateway.pid) - before
            result["cpu_us"] = round(used / max(1, result["requests"]) * 1e6, 1)
            result["peak_mib"] = round(peak_mib(gateway.pid), 1)
            return result
        finally:
            gateway.kill9()

    def run(self) -> dict[str, list[dict[str, Any]]]:
        """All kinds in turns, so that what the machine does besides meets each of them."""
        results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in self.options.kinds}
        for turn in range(self.options.repeats):
            for kind in results:
                result = self.measure(kind, turn)
                results[kind].append(result)
                said = f"{result['per_second']:>9.1f}/s  p50 {result['p50_ms']:.2f} ms  p99 {result['p99_ms']:.2f} ms"
                print(f"  {turn + 1}/{self.options.repeats} {kind:<9}{said}", flush=True)
                if result["not_200"] or result["lost_connections"]:
                    print(f"    {result['not_200']} replies were no 200, {result['lost_connections']} connections lost")
                    print(f"    {result['sample']!r}", flush=True)
        return results


def summary(results: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """The median of each number over the repeats, and requests a second against ``straight``, turn by turn."""
    numbers = ("per_second", "p50_ms", "p99_ms", "cpu_us", "peak_mib")
    medians: dict[str, dict[str, float]] = {}
    for kind, turns in results.items():
        there = [name for name in numbers if name in turns[0]]
        medians[kind] = {name: round(statistics.median(turn[name] for turn in turns), 2) for name in there}
        if "straight" in results and kind != "straight":
            pairs = zip(turns, results["straight"], strict=True)
            ratios = [turn["per_second"] / max(1.0, straight["per_second"]) for turn, straight in pairs]
            medians[kind]["of_straight"] = round(statistics.median(ratios), 4)
    return medians


def show(medians: dict[str, dict[str, float]]) -> None:
    """Print the summary as a table."""
    columns = {"per_second": "requests/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "cpu_us": "CPU us/request"}
    columns |= {"peak_mib": "peak MiB", "of_straight": "of straight"}
    print(f"\n{'median':<10}" + "".join(f"{title:>16}" for title in columns.values()))
    for kind, values in medians.items():
        print(f"{kind:<10}" + "".join(f"{values.get(name, '-'):>16}" for name in columns))


def main() -> int:
    """Measure, print, and fail when a reply was not 200."""
    parser = argparse.ArgumentParser(description="Measure the gateway against its worker.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (5)")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    options = parser.parse_args()
    minutes = options.repeats * len(options.kinds) * (options.seconds + 4) / 60
    print(f"{options.connections} connections, {options.repeats} repeats in turns; takes about {minutes:.1f} minutes")
    with tempfile.TemporaryDirectory() as folder, fixed_worker() as worker:
        results = Bench(options, worker, Path(folder)).run()
    medians = summary(results)
    show(medians)
    if options.json:
        options.json.write_text(json.dumps({"options": vars(options), "runs": results, "median": medians}, default=str))
    return int(any(turn["not_200"] or turn["lost_connections"] for turns in results.values() for turn in turns))


if __name__ == "__main__":
    sys.exit(main())
