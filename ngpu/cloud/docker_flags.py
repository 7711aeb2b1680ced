"""The flags of ``docker run`` as customers write them: which take a value, which count, why others are refused.

Every flag of Docker's reference stands in one of the tables, so that one that stands in none is a slip of the pen.
"""

from __future__ import annotations

SHORT = {
    "a": "attach", "c": "cpu-shares", "d": "detach", "e": "env", "h": "hostname", "i": "interactive", "l": "label",
    "m": "memory", "p": "publish", "P": "publish-all", "q": "quiet", "t": "tty", "u": "user", "v": "volume",
    "w": "workdir",
}  # fmt: skip
"""One letter to the name."""

ALIASES = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}

HEEDED = frozenset({
    "env", "gpus", "memory", "pids-limit", "publish", "read-only", "runtime", "shm-size", "stop-timeout", "tmpfs",
    "user", "volume",
})  # fmt: skip
"""Flags that become settings of the workspace."""

IGNORED = frozenset({
    "annotation", "attach", "blkio-weight", "cap-drop", "cpu-count", "cpu-percent", "cpu-period", "cpu-quota",
    "cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems", "detach", "detach-keys", "disable-content-trust", "expose",
    "health-cmd", "health-interval", "health-retries", "health-start-interval", "health-start-period", "health-timeout",
    "hostname", "init", "interactive", "label", "log-driver", "log-opt", "memory-reservation", "memory-swap",
    "memory-swappiness", "name", "network-alias", "no-healthcheck", "platform", "pull", "quiet", "restart", "rm",
    "sig-proxy", "tty", "ulimit",
})  # fmt: skip
"""Flags that say what ngpu does in its own way, or ask for less than a copy gets anyway."""

_PRIVILEGE = "copies get no privileges on their machine"
_MACHINE = "which machine a copy runs on changes, and what is on it is not the customer's"
_IMAGE = "build it into the image"
_NETWORK = "copies have a network of their own, and ngpu decides how they are reached"

REFUSED = {
    "privileged": _PRIVILEGE,
    "cap-add": _PRIVILEGE,
    "cgroup-parent": _PRIVILEGE,
    "device": _PRIVILEGE + "; for GPUs write --gpus",
    "device-cgroup-rule": _PRIVILEGE,
    "device-read-bps": _PRIVILEGE,
    "device-read-iops": _PRIVILEGE,
    "device-write-bps": _PRIVILEGE,
    "device-write-iops": _PRIVILEGE,
    "blkio-weight-device": _PRIVILEGE,
    "cpu-rt-period": _PRIVILEGE,
    "cpu-rt-runtime": _PRIVILEGE,
    "group-add": _PRIVILEGE,
    "kernel-memory": _PRIVILEGE,
    "oom-kill-disable": _PRIVILEGE,
    "oom-score-adj": _PRIVILEGE,
    "storage-opt": _PRIVILEGE,
    "sysctl": _PRIVILEGE,
    "use-api-socket": _PRIVILEGE,
    "cidfile": _MACHINE,
    "env-file": _MACHINE + "; write each variable with -e NAME=value",
    "label-file": _MACHINE,
    "mount": "write -v FOLDER:TARGET, for folders that the operator lists in fleet.mounts",
    "volume-driver": _MACHINE,
    "volumes-from": _MACHINE,
    "entrypoint": _IMAGE + ", or write the program behind the image",
    "workdir": _IMAGE + " (WORKDIR)",
    "domainname": _NETWORK,
    "stop-signal": _IMAGE + " (STOPSIGNAL)",
    "add-host": _NETWORK,
    "dns": _NETWORK,
    "dns-option": _NETWORK,
    "dns-search": _NETWORK,
    "ip": _NETWORK,
    "ip6": _NETWORK,
    "link": _NETWORK,
    "link-local-ip": _NETWORK,
    "mac-address": _NETWORK,
    "publish-all": "say which ports there are, each with -p 8080:80",
    "isolation": "it is for Windows",
}
"""Flags that are never taken, and why."""

HARMLESS = {
    "network": (frozenset({"bridge", "default"}), _NETWORK),
    "ipc": (
        frozenset({"", "private", "shareable", "none"}),
        _PRIVILEGE + "; for more shared memory write --shm-size 8g",
    ),
    "pid": (frozenset({""}), _PRIVILEGE),
    "uts": (frozenset({""}), _PRIVILEGE),
    "userns": (frozenset({""}), _PRIVILEGE),
    "cgroupns": (frozenset({"", "private"}), _PRIVILEGE),
    "security-opt": (frozenset({"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"}), _PRIVILEGE),
}
"""Flags of which only these values are taken, and why others are not."""

SWITCHES = frozenset({
    "detach", "disable-content-trust", "init", "interactive", "no-healthcheck", "oom-kill-disable", "privileged",
    "publish-all", "quiet", "read-only", "rm", "sig-proxy", "tty", "use-api-socket",
})  # fmt: skip
"""Flags without a value, or with ``=true`` and ``=false``."""

KNOWN = HEEDED | IGNORED | REFUSED.keys() | HARMLESS.keys()
