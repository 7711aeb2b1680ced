"""What a customer's request has become by the time the gateway looks at it."""

from __future__ import annotations

from dataclasses import dataclass

from ngpu.model import DataForm, Task, UpstreamRequest
from ngpu.tenancy import Access


@dataclass(frozen=True, slots=True)
class Submission:
    """A request for a workspace's replicas, read and checked, and who sent it.

    ``method`` is the name of the call or app, ``request_url`` what the client asked for; both only for the record.
    ``app`` names the app whose adapter converses for it, "" where it is passed through.
    """

    access: Access
    method: str
    request: UpstreamRequest
    data: bytes
    form: DataForm
    text: bool
    btc_address: str
    client_ip: str
    request_url: str
    app: str = ""

    def task(self, task_id: str, now: float) -> Task:
        """The record that begins with it, queued from now on."""
        workspace = self.access.workspace
        return Task(
            id=task_id,
            workspace=workspace.id,
            method=self.method,
            request=self.request,
            form=self.form,
            submitted_at=now,
            expires_at=now + workspace.queue.ttl,
            timeout=workspace.timeout,
            request_url=self.request_url,
            request_size=len(self.data),
            request_text=self.text,
            btc_address=self.btc_address,
            client_ip=self.client_ip,
            user_key=self.access.user_key,
            app=self.app,
        )
