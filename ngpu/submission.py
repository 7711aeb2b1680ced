"""What a customer's request has become by the time the gateway looks at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ngpu.model import Body, DataForm, Priority, Task, UpstreamRequest
from ngpu.tasks.lifecycle import place_of
from ngpu.tenancy import Access
from ngpu.thawed import thawed


def no_header(name: str) -> None:
    """For a submission that came without header fields."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a submission asks for beside its work; ``None`` and "" leave it to the workspace.

    ``ttl`` and ``timeout`` are seconds, ``webhook`` a URL that was checked, ``key`` a digest of the Idempotency-Key.
    """

    ttl: float | None = None
    timeout: float | None = None
    priority: Priority = Priority.NORMAL
    webhook: str = ""
    key: str = ""


@thawed
@dataclass(frozen=True, slots=True)
class Submission:
    """A request for a workspace's replicas, read and checked, and who sent it.

    ``method`` is the name of the call or app, ``request_url`` what the client asked for; both only for the record.
    ``app`` names the app whose adapter converses for it, "" where it is passed through.
    ``header`` gives the first field of a name of the client's request, ``None`` where it has none.
    ``digest`` is one of all that makes two requests the same, where ``wishes`` have a key.
    """

    access: Access
    method: str
    request: UpstreamRequest
    body: Body
    form: DataForm
    text: bool
    btc_address: str
    client_ip: str
    request_url: str
    app: str = ""
    header: Callable[[str], str | None] = no_header
    wishes: Wishes = Wishes()
    digest: str = ""

    def task(self, task_id: str, now: float) -> Task:
        """The record that begins with it, queued from now on, with what it wishes."""
        workspace, wishes = self.access.workspace, self.wishes
        ttl = workspace.queue.ttl
        return Task(
            id=task_id,
            workspace=workspace.id,
            method=self.method,
            request=self.request,
            form=self.form,
            submitted_at=now,
            expires_at=now + (ttl if wishes.ttl is None else wishes.ttl),
            timeout=workspace.timeout if wishes.timeout is None else wishes.timeout,
            request_url=self.request_url,
            request_size=self.body.length,
            request_text=self.text,
            btc_address=self.btc_address,
            client_ip=self.client_ip,
            user_key=self.access.user_key,
            app=self.app,
            priority=wishes.priority,
            place=place_of(now, wishes.priority, ttl),
            webhook=wishes.webhook,
            idempotency_key=wishes.key,
            request_digest=self.digest,
        )
