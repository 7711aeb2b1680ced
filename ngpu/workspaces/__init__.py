"""Workspaces at run time: made, changed and removed while the gateway serves, and kept in the store."""

from ngpu.workspaces.book import COLLECTION, Entry, Source, Workspaces
from ngpu.workspaces.deployment import Deployment, IDeployments
from ngpu.workspaces.shown import MASK, shown

__all__ = ["COLLECTION", "MASK", "Deployment", "Entry", "IDeployments", "Source", "Workspaces", "shown"]
