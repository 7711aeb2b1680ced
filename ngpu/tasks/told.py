"""What adapters say of jobs that are on their way, whichever gateway runs them."""

from __future__ import annotations

import json
from collections import OrderedDict

from ngpu.sharing import PROGRESS, INews

MOST_HEARD = 10_000
"""Jobs of other gateways of which the last word is kept; the oldest is forgotten first."""


class Told:
    """The last word on each job. That of another gateway's comes by news, and is missing until the next where lost."""

    def __init__(self, news: INews) -> None:
        self._news = news
        self._own: dict[str, str] = {}
        self._heard: OrderedDict[str, str] = OrderedDict()
        news.hear(PROGRESS, self._hear)

    def of(self, task_id: str) -> str | None:
        """What was said last; ``None`` where nothing was."""
        return self._own.get(task_id) or self._heard.get(task_id)

    def tell(self, task_id: str, text: str) -> None:
        """This is how far the job is."""
        if self._own.get(task_id) != text:
            self._own[task_id] = text
            self._news.say(PROGRESS, json.dumps([task_id, text]))

    def end(self, task_id: str) -> None:
        """The job is over here."""
        if self._own.pop(task_id, None) is not None:
            self._news.say(PROGRESS, json.dumps([task_id, ""]))

    def _hear(self, words: str | None) -> None:
        if words is None:
            return
        try:
            task_id, text = json.loads(words)
        except ValueError:  # a later version's
            return
        self._heard.pop(task_id, None)
        if text:
            self._heard[task_id] = text
            if len(self._heard) > MOST_HEARD:
                self._heard.popitem(last=False)
