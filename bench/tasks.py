"""Tasks a second, accepted and completed: ngpu on SQLite and Redis, through one, two and three gateways, beside Celery,
RQ and arq on the same Redis.

``python bench/tasks.py [--seconds 5] [--repeats 3] [--peers PYTHON] [--json FILE]``. Each task is one call to a worker
that costs next to nothing, and its result is kept. PYTHON is an interpreter that has celery, redis, rq, arq and
requests; without it the peers are left out. All of it shares the machine's cores, the producers and Redis too: compare
within one run only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from gateway import ROOT, WORKSPACE, config

sys.path.insert(0, str(ROOT / "tests"))

import requests
from processes import Gateway, find_free_port
from redis_server import KEPT, RedisServer

HERE = Path(__file__).parent
SUBMIT = "/user/schedulingTask?paramUrl=sdapi/v1/img2img&paramPort=8080&taskMode=Async"
Figures = dict[str, float]
TICK = os.sysconf("SC_CLK_TCK")
PEERS: dict[str, list[list[str]]] = {
    "celery": [["-m", "celery", "-A", "peers", "worker", "-P", "threads", "-c", "32", "-l", "ERROR"]],
    "rq": [["-m", "rq.cli", "worker", "-w", "rq.worker.SimpleWorker", "--quiet", "-u", "{redis}"]] * 2,
    "arq": [["-m", "arq", "peers.ArqSettings"]],
}


@contextmanager
def program(*command: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that ends with the block."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()


def processor_time(pids: list[int]) -> float:
    """Seconds that these processes have used so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / TICK


def finished(gateways: list[Gateway]) -> int:
    """How many tasks these gateways have brought to their end."""
    total = 0.0
    for gateway in gateways:
        text = requests.get(gateway.admin + "/metrics", timeout=30).text
        total += sum(map(float, re.findall(r'ngpu_tasks_ended_total\{[^}]*status="finished"[^}]*\} (\S+)', text)))
    return int(total)


def ngpu(store: dict[str, Any], gateways: int, seconds: float, folder: Path) -> Figures:
    """One measurement of ngpu."""
    with ExitStack() as stack:
        port = find_free_port()
        stack.enter_context(program(sys.executable, str(HERE / "fixed_worker.py"), str(port)))
        started = []
        for number in range(gateways):
            admin = {"listen": [f"tcp:{find_free_port()}:interface=127.0.0.1"], "open_metrics": True}
            gateway = Gateway({**config(port), "store": store, "admin": admin}, folder / f"gateway{number}")
            stack.callback(gateway.kill9)
            started.append(gateway.start())
        body = folder / "body.json"
        body.write_text(json.dumps({"data": {"prompt": "x"}}))
        before, began = processor_time([each.pid for each in started]), time.monotonic()
        load = ["--connections", "32", "--seconds", f"{seconds:g}", "--warm-up", "0", "--body", str(body)]
        load += ["--header", f"Authorization: Bearer {WORKSPACE}"]
        loads = [
            subprocess.Popen([sys.executable, str(HERE / "load.py"), each.url + SUBMIT, *load], stdout=subprocess.PIPE)
            for each in started
        ]
        accepted = sum(json.loads(each.communicate()[0])["requests"] for each in loads)
        took = time.monotonic() - began
        while (done := finished(started)) < accepted and time.monotonic() - began < 120 + seconds:
            time.sleep(0.1)
        whole = time.monotonic() - began
        used = processor_time([each.pid for each in started]) - before
    return figures(accepted, done, took, whole, used)


def peer(name: str, python: str, redis: RedisServer, seconds: float) -> Figures:
    """One measurement of another task queue."""
    port = find_free_port()
    env = {**os.environ, "BENCH_REDIS": redis.url + "/0", "BENCH_WORKER": f"http://127.0.0.1:{port}/"}
    with ExitStack() as stack:
        stack.enter_context(program(sys.executable, str(HERE / "fixed_worker.py"), str(port)))
        commands = [[word.format(redis=redis.url + "/0") for word in command] for command in PEERS[name]]
        workers = [stack.enter_context(program(python, *command, env=env, cwd=HERE / "queues")) for command in commands]
        time.sleep(4.0)  # until they listen
        before = processor_time([each.pid for each in workers])
        said = subprocess.run(
            [python, "peers.py", name, f"{seconds:g}"], env=env, cwd=HERE / "queues", capture_output=True, text=True
        )
        if said.returncode:
            raise SystemExit(f"{name}: {said.stderr}")
        accepted, done, took, whole = map(float, said.stdout.split())
        used = processor_time([each.pid for each in workers]) - before
    return figures(accepted, done, took, whole, used)


def figures(accepted: float, done: float, took: float, whole: float, used: float) -> Figures:
    """What is shown of one measurement."""
    return {
        "accepted a second": accepted / took,
        "completed a second": done / whole,
        "processor ms a task": used * 1000 / max(done, 1),
        "not completed": accepted - done,
    }


def main() -> None:
    """Measure in turns, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", default="", metavar="PYTHON")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="what has one of these in its name")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kinds: dict[str, Callable[[Path], Figures]] = {
        "ngpu, SQLite": lambda folder: ngpu(
            {"kind": "sqlite", "path": str(folder / "tasks.sqlite")}, 1, options.seconds, folder
        )
    }

    def on_redis(fsync: str, work: Callable[[RedisServer, Path], Figures]) -> Callable[[Path], Figures]:
        def measured(folder: Path) -> Figures:
            server = RedisServer(folder / "redis", *[fsync if word == "everysec" else word for word in KEPT]).start()
            try:
                return work(server, folder)
            finally:
                server.stop()

        return measured

    for fsync in ("everysec", "always"):
        for gateways in (1, 2, 3):
            kinds[f"ngpu, Redis {fsync}, gateways: {gateways}"] = on_redis(
                fsync,
                lambda server, folder, gateways=gateways: ngpu(  # type: ignore[misc]
                    {"kind": "redis", "url": server.url}, gateways, options.seconds, folder
                ),
            )
        for name in PEERS if options.peers else ():
            kinds[f"{name}, Redis {fsync}"] = on_redis(
                fsync,
                lambda server, folder, name=name: peer(name, options.peers, server, options.seconds),  # type: ignore[misc]
            )
    kinds = {kind: work for kind, work in kinds.items() if any(word in kind for word in options.only)}
    results: dict[str, list[Figures]] = {kind: [] for kind in kinds}
    for _ in range(options.repeats):
        for kind, measure in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                results[kind].append(measure(Path(folder)))
            print(f"{kind}: {results[kind][-1]}", file=sys.stderr, flush=True)
    print("| what | accepted/s | completed/s | processor ms a task | not completed |\n| --- | --- | --- | --- | --- |")
    for kind, rows in results.items():
        shown = {name: median(row[name] for row in rows) for name in rows[0]}
        texts = [f"{value:,.2f}" if value < 10 else f"{value:,.0f}" for value in shown.values()]
        print(f"| {kind} | {' | '.join(texts)} |")
    if options.json:
        told = {"cores": os.cpu_count(), "load": os.getloadavg(), "results": results}
        options.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
