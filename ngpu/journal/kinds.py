"""What may happen that the journal tells of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "replica_up": "A replica passes its health checks.",
    "replica_down": "A replica fails its health checks, and gets no calls.",
    "replica_rests": "A replica failed calls, and gets none for a while.",
    "copy_placed": "A copy of a workspace got a node.",
    "copy_moved": "A copy was found on another node than it was placed on.",
    "copy_leaves": "A copy has to go, and why: its node is lost or drained, or another version takes its place.",
    "copy_gone": "A copy that had to go is no more.",
    "step_failed": "A node's engine did not make a container, start it or end it.",
    "image_failed": "An image could not be brought to a node yet.",
    "node_back": "A node's engine answers again.",
    "node_away": "A node's engine does not answer.",
    "node_drained": "An operator drained a node.",
    "node_undrained": "An operator let a node be used again.",
    "deploy_begun": "An operator asked for a deployment, or a version of a workspace begins to be rolled out.",
    "deploy_done": "A version of a workspace is healthy.",
    "deploy_failed": "A version never got healthy; the one before stays.",
    "undeployed": "An operator had a workspace's copies removed.",
    "task_failed": "A task or raw call failed.",
    "task_timed_out": "A task or raw call took too long.",
    "task_interrupted": "A task was running when its gateway ended, and what becomes of it.",
    "store_unavailable": "The store does not answer, or refuses writes.",
    "store_back": "The store answers again.",
    "gateway_started": "A gateway serves.",
    "gateway_joined": "A gateway shares the store with others from now on.",
    "gateway_lost": "A gateway was away for so long that others have taken over what it ran.",
    "gateway_leads": "A gateway works on the fleet from now on.",
    "gateway_leads_no_more": "A gateway does not work on the fleet any more.",
    "reload_begun": "The configuration is read anew, and the process replaced.",
    "reload_refused": "A changed configuration was not taken, and why.",
    "reload_done": "With several processes: workers with the configuration as it is now serve.",
    "worker_died": "With several processes: one of them ended, and another one takes its place.",
    "worker_hangs": "With several processes: one of them did not answer any more, and is ended.",
    "certificate_renewed": "A listener uses a renewed certificate.",
    "certificate_refused": "What is in a certificate's files now cannot be used, and an older one stays in use.",
    "webhook_dead": "A webhook was given up.",
    "workspace_made": "A workspace was made over the admin API.",
    "workspace_changed": "One was changed.",
    "workspace_deleted": "One was removed.",
    "workspace_unfit": "One that was made at run time does not fit the configuration any more.",
}
"""Each kind of event, and what it says."""

SEVERITIES: Final = ("info", "warning", "error")
"""How bad an event is, the least first: what the log calls warn is a warning, and error or critical an error."""
