"""A client for customers of a gateway: submit, wait, ask, cancel, list, and raw calls.

>>> with Client("http://127.0.0.1:8080", "my-key") as client:                          # doctest: +SKIP
...     task = client.submit({"prompt": "a cat"}, path="sdapi/v1/img2img")
...     picture = client.wait(task).value()["images"][0]

`AsyncClient` has the same methods for asyncio. Both may be used by several threads or tasks at once, and keep
connections. Whatever goes wrong is a `ClientError`.
"""

from ngpu.client.asynchronous import AsyncClient
from ngpu.client.calls import Choices, Submission
from ngpu.client.synchronous import Client
from ngpu.client.values import ClientError, NodeStatus, Refused, StillRunning, Task, TaskFailed, Unreachable

__all__ = [
    "AsyncClient",
    "Choices",
    "Client",
    "ClientError",
    "NodeStatus",
    "Refused",
    "StillRunning",
    "Submission",
    "Task",
    "TaskFailed",
    "Unreachable",
]
