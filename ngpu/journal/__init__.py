"""What has happened lately, for operators: a journal out of the log, with what other gateways' journals say."""

from ngpu.journal.journal import EVENTS, KEPT, MOST_APART, WINDOW, Entry, Journal, this_process
from ngpu.journal.kinds import KINDS, SEVERITIES

__all__ = ["EVENTS", "KEPT", "KINDS", "MOST_APART", "SEVERITIES", "WINDOW", "Entry", "Journal", "this_process"]
