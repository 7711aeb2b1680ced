"""The configuration: YAML text → frozen settings, or a report of everything that is wrong, each with its place."""

from ngpu.settings.account import Account, Cloud, ScryptHash, email_key, scrypt_hash
from ngpu.settings.app import App, AppRoute, QueryAlias
from ngpu.settings.container import ContainerSettings, PlacementSettings
from ngpu.settings.fleet import FleetSettings, NodeSettings, Registry
from ngpu.settings.gate import Gate
from ngpu.settings.loading import MAX_FILE, Loaded, load, loads, read_block, read_file
from ngpu.settings.lone_workspace import lone_workspace
from ngpu.settings.plugin_blocks import CheckBlock, FindPlugins
from ngpu.settings.raw import Raw, host_key
from ngpu.settings.report import Problem, SettingsError, dotted
from ngpu.settings.root import Settings
from ngpu.settings.secrecy import is_secret_key, secret_spans_in
from ngpu.settings.service import Admin, Limits, Store
from ngpu.settings.workspace import HealthCheck, Image, Queue, Selection, Upstream, Workspace

__all__ = [
    "MAX_FILE",
    "Account",
    "Admin",
    "App",
    "AppRoute",
    "CheckBlock",
    "Cloud",
    "ContainerSettings",
    "FindPlugins",
    "FleetSettings",
    "Gate",
    "HealthCheck",
    "Image",
    "Limits",
    "Loaded",
    "NodeSettings",
    "PlacementSettings",
    "Problem",
    "QueryAlias",
    "Queue",
    "Raw",
    "Registry",
    "ScryptHash",
    "Selection",
    "Settings",
    "SettingsError",
    "Store",
    "Upstream",
    "Workspace",
    "dotted",
    "email_key",
    "host_key",
    "is_secret_key",
    "load",
    "loads",
    "lone_workspace",
    "read_block",
    "read_file",
    "scrypt_hash",
    "secret_spans_in",
]
