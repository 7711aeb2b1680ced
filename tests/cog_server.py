"""The real cog server from the package index, with a toy model and without a container."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from processes import find_free_port


class CogServer:
    """The server's process and the one in which it runs the model.

    :param model: the file with its ``Predictor``, which is copied into ``folder``.
    :param streams: the model's inputs, texts all of them, where it gives its output in pieces.
    """

    def __init__(self, folder: Path, model: Path, streams: Sequence[str] = ()) -> None:
        self.port = find_free_port()
        self.log = folder / "cog.log"
        (folder / "predict.py").write_text(model.read_text())
        if streams:
            (folder / ".cog").mkdir()
            (folder / ".cog/openapi_schema.json").write_text(json.dumps(_document(streams)))
        env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # it starts `python`
            "PORT": str(self.port),
            "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
        }
        command = [sys.executable, "-m", "cog.server.http", "--host", "127.0.0.1"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def state(self) -> str:
        try:
            return str(requests.get(f"http://127.0.0.1:{self.port}/health-check", timeout=2).json()["status"])
        except requests.RequestException:
            return "away"

    def began(self) -> list[str]:
        """The predictions that were started, by id, in the order of the server's log."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        found = [line["fields"] for line in lines]
        return [each["prediction_id"] for each in found if each.get("message") == "Starting prediction"]

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)


def _document(inputs: Sequence[str]) -> dict[str, Any]:
    """What `cog build` would put beside such a model; without it the server streams nothing."""
    text = {"type": "string"}
    output = {"type": "array", "items": text, "x-cog-array-type": "iterator"}
    schemas = {"Input": {"type": "object", "properties": dict.fromkeys(inputs, text)}, "Output": output}
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {"/predictions": {"post": {"x-cog-streaming": True}}},
        "components": {"schemas": schemas},
    }
