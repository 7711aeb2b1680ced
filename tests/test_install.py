"""install.sh and the Debian package on a host: what they leave there, a second time, an upgrade, and a removal."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import one_file
import pytest
from mounted_host import host_or_skip, on_host
from processes import ROOT, find_free_port

TRY = r"""
install() { echo "== $1"; shift; sh "$SYSTEMD/install.sh" "$@" 2>&1; }
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


PACKAGE = r"""
exec 2>&1
echo "== info"; dpkg-deb --field "$DEB" Package Version Depends
echo "== contents"; dpkg-deb --contents "$DEB" | awk '{print $1, $2, $6}' | grep -v /$
echo "== first"; dpkg --install "$DEB"
echo "== states"; dpkg --verify ngpu; dpkg-query --show --showformat '${Status}\n' ngpu
stat --format '%U:%G %a %n' /etc/ngpu /etc/ngpu/ngpu.yaml /var/lib/ngpu /var/lib/ngpu/admin.token /usr/lib/ngpu/ngpu
readlink /etc/systemd/system/multi-user.target.wants/ngpu.service /etc/systemd/system/sockets.target.wants/ngpu.socket
systemd-analyze verify /usr/lib/systemd/system/ngpu.service
sed -i "s/:8081:/:$ADMIN:/" /etc/ngpu/ngpu.yaml
ngpu check
echo "== again"; dpkg --install "$DEB"; grep -c ":$ADMIN:" /etc/ngpu/ngpu.yaml
echo "== removed"; dpkg --remove ngpu
ls -d /etc/ngpu/ngpu.yaml /var/lib/ngpu /usr/lib/ngpu /usr/share/ngpu /usr/bin/ngpu /etc/systemd/system/*/ngpu.* || true
echo "== purged"; dpkg --purge ngpu
ls -d /etc/ngpu /var/lib/ngpu || true
getent passwd ngpu || echo no user
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


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one file."""
    host_or_skip()
    return one_file.made_once(tmp_path_factory)


def test_a_host_from_the_first_installation_to_its_removal(file: Path, tmp_path: Path) -> None:
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
    said = on_host(TRY, environment)
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


def test_a_package_from_its_installation_to_its_purge(file: Path, tmp_path: Path) -> None:
    if not shutil.which("dpkg-deb"):
        pytest.skip("this is no Debian")
    shutil.copy(file, tmp_path)
    made = subprocess.run([ROOT / "tools/deb.sh", tmp_path], capture_output=True, text=True, check=True)
    assert made.stderr == ""
    (package,) = tmp_path.glob("ngpu_*.deb")
    said = on_host(PACKAGE, {"DEB": str(package), "ADMIN": str(find_free_port())})
    assert "Package: ngpu" in said["info"]
    assert {line.split()[1] for line in said["contents"]} == {"root/root"}
    assert "-rw-r--r-- root/root ./usr/lib/systemd/system/ngpu.socket" in said["contents"]
    assert said["states"] == [
        "install ok installed",
        "root:ngpu 750 /etc/ngpu",
        "root:ngpu 640 /etc/ngpu/ngpu.yaml",
        "ngpu:ngpu 700 /var/lib/ngpu",
        "ngpu:ngpu 600 /var/lib/ngpu/admin.token",
        "root:root 755 /usr/lib/ngpu/ngpu",
        "/lib/systemd/system/ngpu.service",
        "/lib/systemd/system/ngpu.socket",
        "/etc/ngpu/ngpu.yaml: can be used: 0 workspaces, 0 nodes, 0 apps, 0 gates",
    ]
    assert said["again"][-1] == "1", "what the operator changed is kept"
    assert [line for line in said["removed"] if line.startswith("/")] == ["/etc/ngpu/ngpu.yaml", "/var/lib/ngpu"]
    assert said["purged"][-1] == "no user"
    assert not [line for line in said["purged"] if line.startswith("/")]
