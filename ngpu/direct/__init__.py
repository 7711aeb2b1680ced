"""Calls whose client waits on its connection: their first slot, and their records.

Such a call needs no record before it: a client whose connection breaks knows as much as a record that says "outcome
unknown", and nobody makes the call a second time. So the record is *late*: of a call that is over soon it is written
once, when it ends. One that is not is written as running after START_AFTER seconds; and before that as soon as somebody
can ask for it, or does; a job of an app at once. Who is told its id waits for the record of the end; and once the store
has refused one, such calls are recorded before they are made, until it takes one again: what it refuses is not made.
Raw calls are made all the same until MOST_WAITING ends wait for it. Their ends are kept in files until then.
"""

from ngpu.direct.calls import START_AFTER, DirectCalls
from ngpu.direct.record import LateRecord
from ngpu.direct.spool import Spool

__all__ = ["START_AFTER", "DirectCalls", "LateRecord", "Spool"]
