"""The application's log as JSON: one object a line whatever is logged, and a gateway's whole output is that."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from api_rig import configuration, eventually, rig_of, workspace
from scripted_worker import script
from twisted.logger import Logger, LogPublisher

from ngpu.log_lines import FromLogging, JsonLines


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no")


def lines(process: int = 0, level: str = "info", **fields: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    log = Logger("test", observer=LogPublisher(JsonLines(out, process)))
    getattr(log, level)(**fields)
    assert out.getvalue().endswith("\n") and out.getvalue().isascii()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_the_message_and_the_fields() -> None:
    (line,) = lines(2, "warn", format="{task_id} failed", task_id="t1", workspace="w", tries=3, what=object())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warn",
        "logger": "test",
        "process": 2,
        "message": "t1 failed",
        "task_id": "t1",
        "workspace": "w",
        "tries": 3,
    }


@pytest.mark.parametrize("bad", ["two\nlines \u2028 \x1b[31m", "\udc80", float("nan"), float("inf"), Unprintable()])
def test_whatever_is_logged_is_one_line_of_json(bad: Any) -> None:
    (line,) = lines(format="x {bad}", bad=bad)
    assert "message" in line


def test_a_failure_has_its_traceback() -> None:
    out = io.StringIO()
    log = Logger("test", observer=LogPublisher(JsonLines(out)))
    try:
        raise KeyError("k")
    except KeyError:
        log.failure("it broke")
    line = json.loads(out.getvalue())
    assert (line["level"], line["message"]) == ("critical", "it broke") and "KeyError" in line["failure"]


def test_what_libraries_say_to_logging_is_in_the_same_lines() -> None:
    out = io.StringIO()
    library = logging.getLogger("some.library")
    handler = FromLogging(JsonLines(out))
    library.addHandler(handler)
    try:
        library.warning("gave up after %d tries", 3)
        try:
            raise KeyError("k")
        except KeyError:
            library.exception("it {broke}")
        library.info("not worth a line")
    finally:
        library.removeHandler(handler)
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("warn", "some.library", "gave up after 3 tries")
    assert (second["level"], second["message"]) == ("error", "it {broke}") and "KeyError" in second["failure"]


def test_a_gateway_prints_nothing_but_json(tmp_path: Path) -> None:
    keys = {"log": {"format": "json"}, "tracing": {"endpoint": "http://127.0.0.1:9"}}  # whose exporter complains
    env = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with rig_of(tmp_path, 1, lambda ports: configuration(workspace("0123", *ports), **keys), env) as rig:
        assert rig.client("0123").send(script(status=500, body=b"no"), params={"taskMode": "Sync"}).status_code >= 500
        eventually(lambda: "task_failed" in rig.gateway.log.read_text(), "it is logged")
        eventually(lambda: "opentelemetry" in rig.gateway.log.read_text(), "and what a library says")
        found = [json.loads(line) for line in rig.gateway.log.read_text().splitlines()]
    failed = next(line for line in found if line.get("journal") == "task_failed")
    asked = next(line for line in found if line.get("path") == "/user/schedulingTask")
    assert failed["task_id"] == asked["task_id"] and failed["level"] == "warn"
    assert any(line.get("message") == "ngpu 0.1.0 serves" for line in found)
