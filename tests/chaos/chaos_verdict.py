"""Afterwards: whether what was promised was kept, by the records, the workers' journals and the customers' own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from chaos_customers import AGAIN, ENDS, WORKSPACES, Promised
from chaos_house import House
from processes import ROOT
from receiver import Receiver

SETTLED_WITHIN = 60.0
"""Seconds in which everything that was taken in has to have ended, once nothing goes wrong any more."""

TOLD_WITHIN = 60.0
"""Seconds in which the receivers of webhooks have to have been told, from then on."""


class Verdict:
    """What came of a trial.

    :ivar broken: a sentence for each promise that was not kept.
    :ivar forgotten: the same of what a master had not passed on when it failed; no store promises that.
    :ivar ends: how many tasks that customers know of ended how.
    :ivar repeated: tasks that may be repeated, and were.
    :ivar accounted: tasks that the store has taken in, as it says itself.
    """

    def __init__(self, house: House, promised: Promised, receiver: Receiver | None) -> None:
        self.broken: list[str] = list(promised.wrong)
        self.forgotten: list[str] = []
        self.ends: Counter[str] = Counter()
        self.repeated = self.accounted = 0
        self._house = house
        self._promised = promised
        self._receiver = receiver
        self._never_ended: list[str] = []
        self._replies: dict[str, dict[str, Any] | None] = {}

    def reach(self) -> None:
        """Wait until everything has ended, then look at all of it."""
        self._settle()
        self._read()
        self._keys()
        self._journals()
        self._webhooks()
        if self._house.pair is not None:
            # A replica that becomes master may not have heard the last moments: tasks, and what became of tasks.
            self.forgotten, self.broken = self.broken, []
        self.broken += self._never_ended
        self._audit()

    def _audit(self) -> None:
        """What `ngpu audit` says of it, at each of the gateways."""
        for gateway in self._house.gateways:
            command = [sys.executable, "-m", "ngpu.cli", "audit", "-c", str(gateway.config_file), "--json"]
            asked = subprocess.run([*command, "--wait", "8"], capture_output=True, text=True, cwd=ROOT, timeout=120)
            if asked.returncode not in (0, 1):
                self.broken.append(f"ngpu audit ended with {asked.returncode}: {asked.stderr}")
                continue
            said = json.loads(asked.stdout)
            self.broken += [f"ngpu audit: {' '.join(each.values())}" for each in said["findings"]]
            self.accounted = sum(counts["accepted"] for counts in said["workspaces"].values())

    def _ask(self, path: str, workspace: str, **params: Any) -> requests.Response:
        url = self._house.gateways[0].url + path
        return requests.get(url, headers={"Authorization": workspace}, params=params, timeout=30)

    def _settle(self) -> None:
        until = time.monotonic() + SETTLED_WITHIN
        unsettled = {task_id: workspace for workspace in WORKSPACES for task_id in self._all(workspace)}
        missing = set(self._promised.markers) - set(unsettled)
        self.broken += [f"{task_id} was taken in and is not listed" for task_id in sorted(missing)]
        while unsettled and time.monotonic() < until:
            with ThreadPoolExecutor(4) as pool:
                found = dict(zip(unsettled, pool.map(self._query, unsettled, unsettled.values()), strict=True))
            for task_id, reply in found.items():
                if reply is None or reply["status"] in ENDS:
                    self._replies[task_id] = reply
                    del unsettled[task_id]
            if unsettled:
                time.sleep(0.5)
        for task_id, workspace in unsettled.items():
            reply = self._query(task_id, workspace) or {"status": "forgotten"}
            self._never_ended.append(f"{task_id} of {workspace} is stuck: {reply['status']}")

    def _query(self, task_id: str, workspace: str) -> dict[str, Any] | None:
        reply = self._ask("/user/queryTask", workspace, taskID=task_id)
        if reply.status_code == 404:
            return None
        document: dict[str, Any] = reply.json()
        return document if "status" in document else {"status": f"HTTP {reply.status_code}: {reply.text[:200]}"}

    def _all(self, workspace: str) -> list[str]:
        ids: list[str] = []
        more: dict[str, str] = {}
        while True:
            reply = self._ask("/user/queryTaskList", workspace, limit=10_000, **more).json()
            ids += reply["taskIds"]
            if "next_cursor" not in reply:
                break
            more = {"cursor": reply["next_cursor"]}
        if len(ids) != len(set(ids)):
            self.broken.append(f"a task of {workspace} is listed twice")
        return ids

    def _read(self) -> None:
        promised = self._promised
        for task_id, marker in promised.markers.items():
            reply = self._replies.get(task_id)
            if reply is None:
                continue  # said already
            self.ends[reply["status"]] += 1
            told = promised.ends.get(task_id, set())
            if told - {reply["status"]}:
                self.broken.append(f"{task_id} ended as {reply['status']}, and {sorted(told)} was told before")
            if task_id in promised.cancelled and reply["status"] != "cancelled":
                self.broken.append(f"{task_id} was cancelled, and is {reply['status']}")
            if reply["status"] == "finished" and reply.get("result_size") and reply["data"] not in (marker, {}, ""):
                self.broken.append(f"{task_id} has {reply['data']!r} for {marker}")

    def _keys(self) -> None:
        for marker, ids in self._promised.keyed.items():
            if len(ids) > 1:
                self.broken.append(f"the Idempotency-Key of {marker} brought in {sorted(ids)}")

    def _journals(self) -> None:
        reached: Counter[str] = Counter()
        for worker in self._house.workers:
            reached.update(marker for event, marker in worker.lines() if event == "start")
        for marker, count in reached.items():
            if count > 1:
                self.repeated += 1
                if not marker.startswith(AGAIN):
                    self.broken.append(f"{marker} reached workers {count} times, and must not more than once")
        for task_id, marker in self._promised.markers.items():
            reply = self._replies.get(task_id)
            if reply is not None and reply["status"] == "finished" and not reached[marker]:
                self.broken.append(f"{task_id} is finished, and no worker has seen {marker}")

    def _webhooks(self) -> None:
        if self._receiver is None:
            return
        waiting = {task_id for task_id in self._promised.hooked if self._replies.get(task_id) is not None}
        until = time.monotonic() + TOLD_WITHIN
        while waiting and time.monotonic() < until:
            waiting -= {each.json["taskID"] for each in tuple(self._receiver.deliveries)}
            if waiting:
                time.sleep(0.5)
        self.broken += [f"nobody was told of the end of {task_id}" for task_id in sorted(waiting)]
        for each in tuple(self._receiver.deliveries):
            task_id, status = each.json["taskID"], each.json["status"]
            reply = self._replies.get(task_id)
            if reply is not None and reply["status"] != status:
                self.broken.append(f"a webhook says that {task_id} is {status}, and it is {reply['status']}")
