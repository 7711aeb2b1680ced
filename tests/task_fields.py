"""What the fields of a record may hold, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from ngpu.model import DataForm, Outcome, Placement, Priority, TaskStatus, UpstreamRequest

text = st.text(st.characters(exclude_categories=()), max_size=20)
well_formed = st.text(max_size=20)
times = st.floats(allow_nan=False)
placements = st.builds(Placement, text, text, text)
outcomes = st.builds(
    Outcome,
    status=st.sampled_from(TaskStatus),
    code=st.integers(),
    reason=text,
    worker_status=st.integers(),
    content_type=text,
    size=st.integers(0),
    text=st.booleans(),
    json=st.booleans(),
)
requests = st.builds(
    UpstreamRequest,
    method=text,
    target=text,
    port=st.integers(),
    headers=st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=4).map(tuple),
)
FIELDS = {
    "id": well_formed,
    "workspace": well_formed,
    "method": text,
    "request": requests,
    "form": st.sampled_from(DataForm),
    "submitted_at": times,
    "expires_at": times,
    "timeout": times,
    "request_url": text,
    "request_size": st.integers(0),
    "request_text": st.booleans(),
    "direct": st.booleans(),
    "btc_address": text,
    "client_ip": text,
    "user_key": text,
    "status": st.sampled_from(TaskStatus),
    "attempt": st.integers(0, 2**63 - 1),
    "placement": placements,
    "started_at": st.none() | times,
    "ended_at": st.none() | times,
    "outcome": st.none() | outcomes,
    "app": text,
    "checkpoint": well_formed,
    "priority": st.sampled_from(Priority),
    "place": times,
    "retries": st.integers(0, 2**31),
    "webhook": well_formed,
    "idempotency_key": well_formed,
    "request_digest": text,
}
