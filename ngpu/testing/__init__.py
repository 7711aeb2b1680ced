"""For the tests of plugins: fakes of the ports, and the contract of each family, in one call.

::

    verify_plugin(my_policy, options={"sample": 3})

The fakes pass the same contract suites as the real things.
"""

from ngpu.testing.candidates import FakeCandidate, candidate, request
from ngpu.testing.checkers import HOLDER, NOBODY
from ngpu.testing.conversation import AdapterCall, FakeConversation
from ngpu.testing.engine import FakeEngine, Run
from ngpu.testing.fetcher import FakeFetcher
from ngpu.testing.images import FakeRegistry
from ngpu.testing.making import load_plugin, make_plugin
from ngpu.testing.offers import demand, offer
from ngpu.testing.verifying import verify_plugin

__all__ = [
    "HOLDER",
    "NOBODY",
    "AdapterCall",
    "FakeCandidate",
    "FakeConversation",
    "FakeEngine",
    "FakeFetcher",
    "FakeRegistry",
    "Run",
    "candidate",
    "demand",
    "load_plugin",
    "make_plugin",
    "offer",
    "request",
    "verify_plugin",
]
