"""The task queues beside which `bench/tasks.py` measures ngpu: one task, which calls the worker and keeps what it says.

Each is set to what its documentation says of tasks that must not be lost: a task is acknowledged to its producer when
Redis has it, taken off its queue when it is done, and its result kept in the same Redis.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import arq
import requests
from arq.connections import RedisSettings
from celery import Celery
from redis import Redis
from rq import Queue

REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
WORKER = os.environ.get("BENCH_WORKER", "http://127.0.0.1:1/")
_local = threading.local()


def call() -> str:
    """What a task does: one call to the worker over a connection that is kept."""
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
    reply: requests.Response = _local.session.post(WORKER, data=b'{"prompt": "x"}')
    return reply.text


celery = Celery("peers", broker=REDIS, backend=REDIS)
celery.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    result_expires=3600,
    broker_connection_retry_on_startup=True,
)
celery_call = celery.task(name="call")(call)


async def arq_call(context: dict[str, Any]) -> str:
    """The same for arq, which wants a coroutine: the call itself is made in a thread."""
    return await asyncio.to_thread(call)


class ArqSettings:
    """Of ``arq peers.ArqSettings``."""

    functions = (arq_call,)
    redis_settings = RedisSettings.from_dsn(REDIS)
    max_jobs = 64
    poll_delay = 0.05
    keep_result = 3600


def _threads(produce: Any, until: float, many: int = 8) -> int:
    counts = [0] * many

    def loop(index: int) -> None:
        while time.time() < until:
            produce()
            counts[index] += 1

    with ThreadPoolExecutor(many) as pool:
        for each in [pool.submit(loop, index) for index in range(many)]:
            each.result()
    return sum(counts)


async def _arq(until: float) -> int:
    pool = await arq.create_pool(RedisSettings.from_dsn(REDIS))
    count = 0

    async def loop() -> None:
        nonlocal count
        while time.time() < until:
            await pool.enqueue_job("arq_call")
            count += 1

    await asyncio.gather(*(loop() for _ in range(32)))
    return count


def main(peer: str, seconds: float) -> None:
    """Produce tasks for so long, wait until all are done, print how many and how long that took."""
    began = time.time()
    until, redis = began + seconds, Redis.from_url(REDIS)
    if peer == "celery":
        count = _threads(lambda: celery_call.apply_async(), until)
        pattern = b"celery-task-meta-*"
    elif peer == "rq":
        queue = Queue(connection=redis)
        count = _threads(lambda: queue.enqueue("peers.call", result_ttl=3600), until)
        pattern = b"rq:results:*"
    else:
        count = asyncio.run(_arq(until))
        pattern = b"arq:result:*"
    accepted = time.time() - began
    while (done := sum(1 for _ in redis.scan_iter(pattern, count=5000))) < count:
        if time.time() - began > 120 + seconds:
            break
        time.sleep(0.1)
    print(count, done, accepted, time.time() - began)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
