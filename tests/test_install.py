"""install.sh on a host: what it leaves there, a second time, an upgrade, and its removal.

The host is this machine in a mount namespace, where /etc, /usr/local and /var/lib are overlays in memory: everything
is real but systemd, which does not run here, and nothing of it stays.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import one_file
import pytest
from processes import ROOT, find_free_port

OVERLAYS = """
mount -t tmpfs none /mnt
for folder in etc usr/local var/lib; do
    mkdir -p /mnt/$folder/new /mnt/$folder/work
    mount -t overlay overlay -o lowerdir=/$folder,upperdir=/mnt/$folder/new,workdir=/mnt/$folder/work /$folder
done
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
install() { echo "== $1"; shift; sh "$SYSTEMD/install.sh" "$@" 2>&1; }
"""
TRY = r"""
install first "$FILE"
sed -i "s/:8081:/:$ADMIN:/" /etc/ngpu/ngpu.yaml
sum=$(cat /etc/ngpu/ngpu.yaml /var/lib/ngpu/admin.token | sha256sum)
install second "$FILE"
echo "== checked"
ngpu check
[ "$sum" = "$(cat /etc/ngpu/ngpu.yaml /var/lib/ngpu/admin.token | sha256sum)" ] && echo the same
echo "== modes"
cd /
stat --format '%U:%G %a %n' etc/ngpu etc/ngpu/ngpu.yaml var/lib/ngpu var/lib/ngpu/admin.token usr/local/bin/ngpu \
    usr/local/lib/ngpu/ngpu
find /usr/local/lib/ngpu /usr/local/lib/systemd /usr/local/bin/ngpu \( ! -user root -o -perm /022 \) ! -type l
find /usr/local/lib/ngpu -name dropin.cache -printf 'cache %f\n'
readlink etc/systemd/system/multi-user.target.wants/ngpu.service etc/systemd/system/sockets.target.wants/ngpu.socket

echo "== served"
setpriv --reuid=ngpu --regid=ngpu --clear-groups env -i PATH="$PATH" \
    systemd-socket-activate --listen=127.0.0.1:$PUBLIC --fdname=public $EXEC >/mnt/log 2>&1 &
started=$!
for _ in $(seq 100); do grep -q Listening /mnt/log && break; sleep 0.1; done
python3 - <<END
import urllib.request, urllib.error
try:
    urllib.request.urlopen("http://127.0.0.1:$PUBLIC/", timeout=20)
except urllib.error.HTTPError as error:
    print(error.code)
token = open("/var/lib/ngpu/admin.token").read().strip()
asked = urllib.request.Request("http://127.0.0.1:$ADMIN/metrics", headers={"Authorization": f"Bearer {token}"})
print(urllib.request.urlopen(asked, timeout=20).status)
END
grep -i 'denied\|cache' /mnt/log || true
kill $started
wait $started 2>/dev/null || true

install upgrade "$OTHER"
ls /usr/local/lib/ngpu
install again "$THIRD"
ls /usr/local/lib/ngpu
ngpu --version
install removal --uninstall
ls -d /etc/ngpu /var/lib/ngpu
ls -d /usr/local/lib/ngpu /usr/local/bin/ngpu /etc/systemd/system/*/ngpu.* /usr/local/lib/systemd/system/* \
    2>/dev/null || true
install purge --uninstall --purge
ls -d /etc/ngpu /var/lib/ngpu 2>/dev/null || true
getent passwd ngpu || echo no user
install nothing --uninstall --purge
"""


def other(file: Path, to: Path) -> Path:
    """Another version: the same, under another build's name."""
    shutil.copy(file, to)
    with zipfile.ZipFile(to) as packed:
        environment = json.loads(packed.read("environment.json"))
    environment["build_id"] = to.name
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(to, "a") as packed:
        packed.writestr("environment.json", json.dumps(environment))
    return to


@pytest.fixture
def host() -> None:
    """Skip where there can be none; a failure where CI=true."""
    probe = ["unshare", "--mount", "sh", "-ec", OVERLAYS]
    missing = [each for each in ("systemd-sysusers", "systemd-socket-activate", "unshare") if not shutil.which(each)]
    why = f"there is no {missing[0]}" if missing else ""
    if not missing and os.geteuid() != 0:
        why = "only root can make namespaces and users"
    elif not missing and subprocess.run(probe, capture_output=True, check=False).returncode:
        why = "overlays cannot be mounted here"
    if why and os.environ.get("CI") == "true":
        pytest.fail(why)
    if why:
        pytest.skip(why)


def test_a_host_from_the_first_installation_to_its_removal(
    host: None, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = one_file.made_once(tmp_path_factory)
    unit = (ROOT / "systemd/ngpu.service").read_text()
    environment = {
        "SYSTEMD": str(ROOT / "systemd"),
        "FILE": str(file),
        "OTHER": str(other(file, tmp_path / "2222")),
        "THIRD": str(other(file, tmp_path / "3333")),
        "ADMIN": str(find_free_port()),
        "PUBLIC": str(find_free_port()),
        "EXEC": re.findall("^ExecStart=(.*)$", unit, re.M)[0],
    }
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", OVERLAYS + TRY],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    said = {part.split("\n")[0]: part.split("\n")[1:-1] for part in done.stdout.split("== ")[1:]}
    wrote = [line.removeprefix("wrote ") for line in said["first"] if line.startswith("wrote ")]
    assert len(wrote) == 6, said["first"]
    assert said["second"] == ["systemd does not run here: ngpu starts at the next boot"]
    assert said["checked"][-1] == "the same", "a second installation keeps what the operator changed, and the token"
    assert said["modes"] == [
        "root:ngpu 750 etc/ngpu",
        "root:ngpu 640 etc/ngpu/ngpu.yaml",
        "ngpu:ngpu 700 var/lib/ngpu",
        "ngpu:ngpu 600 var/lib/ngpu/admin.token",
        "root:root 755 usr/local/bin/ngpu",
        "root:root 755 usr/local/lib/ngpu/ngpu",
        "cache dropin.cache",
        "cache dropin.cache",
        "/usr/local/lib/systemd/system/ngpu.service",
        "/usr/local/lib/systemd/system/ngpu.socket",
    ]
    assert said["served"] == ["404", "200"]
    first, second = unpacked(said["upgrade"]), unpacked(said["again"])
    assert len(first) == 2 and "ngpu_2222" in first, "what runs goes on with its own program"
    assert second == {"ngpu_2222", "ngpu_3333"}
    assert said["removal"][1:] == ["/etc/ngpu", "/var/lib/ngpu"]
    assert said["purge"][1:] == ["no user"]
    assert said["nothing"] == said["purge"][:1]


def unpacked(lines: list[str]) -> set[str]:
    return {line for line in lines if line.startswith("ngpu_")}
