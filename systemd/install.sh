#!/bin/sh
# install.sh [FILE]             install ngpu on this Debian host from the one file that `make dist` makes, or upgrade it
# install.sh --uninstall        remove the program and its units; the configuration and the data stay
# install.sh --uninstall --purge    remove these too, and the user
#
# The Debian package (`make deb`) has it do the same with --packaged before all else, and brings the files itself.
# May be run again at any time: what is there already, the configuration, the data and the token before all, is kept.
set -eu
umask 022

here="$(cd "$(dirname "$0")" && pwd)"
library=/usr/local/lib/ngpu
units=/usr/local/lib/systemd/system  # where `systemctl mask` and `systemctl edit` can overrule them
config=/etc/ngpu/ngpu.yaml
state=/var/lib/ngpu
changed=""
packaged=""
if [ "${1:-}" = --packaged ]; then
    packaged=yes
    library=/usr/lib/ngpu
    units=/usr/lib/systemd/system
    shift
fi

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

booted() { [ -d /run/systemd/system ]; }

# put FILE TO MODE: replace TO at once where it differs, and remember that
put() {
    [ -e "$2" ] && cmp -s "$1" "$2" && return
    install -m "$3" "$1" "$2.new"
    mv -f "$2.new" "$2"
    changed="$changed $2"
    echo "wrote $2"
}

uninstall() {
    if booted; then
        systemctl disable --now ngpu.socket ngpu.service 2>/dev/null || true
    elif [ -e "$units/ngpu.service" ]; then
        systemctl disable --quiet ngpu.socket ngpu.service
    fi
    rm -rf "$library"
    [ -z "$packaged" ] || return 0
    rm -f "$units/ngpu.service" "$units/ngpu.socket" /usr/local/bin/ngpu
    booted && systemctl daemon-reload
    if [ "$1" = purge ]; then
        rm -rf /etc/ngpu "$state" /etc/systemd/system/ngpu.service.d /etc/systemd/system/ngpu.socket.d
        if getent passwd ngpu >/dev/null; then
            userdel ngpu
        fi
        echo "removed ngpu, its configuration, its data and its user"
    else
        echo "removed ngpu; /etc/ngpu and $state stay (--purge removes them)"
    fi
}

# Unpacked and compiled by root, so that the service can read its program and not change it. Processes that run go on
# with what they were started from, which stays until the installation after this one.
program() {
    [ -e "$library/ngpu" ] && cmp -s "$1" "$library/ngpu" && return
    mkdir -p "$library/new"
    install -m 755 "$1" "$library/new/ngpu"
    SHIV_ROOT="$library" "$library/new/ngpu" --version >/dev/null || fail "$1 does not run here; see above"
    unpacked="$(SHIV_ROOT="$library" SHIV_INTERPRETER=1 "$library/new/ngpu" -c '
from pathlib import Path
from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin, getPlugins
import ngpu.plugins, ngpu.tap
list(getPlugins(IServiceMaker)), list(getPlugins(IPlugin, ngpu.plugins))
print(Path(ngpu.__file__).parents[2].name)')"
    before="$(cat "$library/unpacked" 2>/dev/null || true)"
    find "$library" -mindepth 1 -maxdepth 1 -name 'ngpu_*' ! -name "$unpacked" ! -name "${before:-$unpacked}" \
        -exec rm -rf {} +
    rm -f "$library"/.ngpu_*_lock
    echo "$unpacked" >"$library/unpacked"
    mv -f "$library/new/ngpu" "$library/ngpu"
    rmdir "$library/new"
    changed="$changed $library/ngpu"
    echo "wrote $library/ngpu"
}

# who listens with tcp: or ssl: of their own have masked the socket
sockets() { [ "$(systemctl is-enabled ngpu.socket 2>/dev/null)" = masked ] || echo ngpu.socket; }

[ "$(id -u)" = 0 ] || fail "has to be run by root"
if [ "${1:-}" = --uninstall ]; then
    case "${2:-}" in
        "") uninstall keep ;;
        --purge) uninstall purge ;;
        *) fail "--uninstall takes --purge, and nothing else" ;;
    esac
    exit
fi

file="${1:-}"
for each in "$here/ngpu" "$here/../dist/ngpu"; do
    [ -n "$file" ] || ! [ -f "$each" ] || file="$each"
done
[ -f "${file:-/nowhere}" ] || fail "${file:-dist/ngpu} is not there: make it with \`make dist\`, or name the file"
command -v systemd-sysusers >/dev/null || fail "there is no systemd here (Debian's package systemd)"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "ngpu needs Python 3.11 or newer as python3; Debian 12 and later have it (package python3)"

systemd-sysusers --inline "u ngpu - \"ngpu gateway\" $state"
install -d -m 750 -g ngpu /etc/ngpu
install -d -m 700 -o ngpu -g ngpu "$state"
install -d -m 755 "$library" "$units"
program "$file"

if [ -n "$packaged" ]; then
    chgrp ngpu "$config"
    chmod 640 "$config"
else
    work="$(mktemp -d)"
    trap 'rm -rf "$work"' EXIT
    cat >"$work/ngpu" <<'END'
#!/bin/sh
# the program, as root has unpacked it
SHIV_ROOT=/usr/local/lib/ngpu exec /usr/local/lib/ngpu/ngpu "$@"
END
    put "$work/ngpu" /usr/local/bin/ngpu 755
    put "$here/ngpu.service" "$units/ngpu.service" 644
    put "$here/ngpu.socket" "$units/ngpu.socket" 644
fi

if ! [ -e "$config" ]; then
    install -m 640 -g ngpu "$here/ngpu.yaml" "$config"
    echo "wrote $config"
fi

# made by the user that reads it, since the folder is that user's
if ! [ -s "$state/admin.token" ]; then
    rm -f "$state/admin.token"  # an empty one, of a disk that was full
    setpriv --reuid=ngpu --regid=ngpu --clear-groups python3 -c '
import os, secrets, sys
with os.fdopen(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
    file.write(secrets.token_urlsafe(24) + "\n")' "$state/admin.token"
    echo "wrote $state/admin.token"
fi

# shellcheck disable=SC2046  # no word where the socket is masked
systemctl enable --quiet $(sockets) ngpu.service
if ! booted; then
    echo "systemd does not run here: ngpu starts at the next boot"
    exit
fi
systemctl daemon-reload
if [ -n "$(sockets)" ] && ! systemctl is-active --quiet ngpu.socket; then
    systemctl stop ngpu.service  # which may hold the port itself
    systemctl start ngpu.socket
fi
if systemctl is-active --quiet ngpu.service; then
    case "$changed" in
        *.service*) systemctl restart ngpu.service ;;
        ?*) systemctl reload ngpu.service ;;
    esac
else
    systemctl start ngpu.service
fi
echo "ngpu runs: customers at the address in ngpu.socket, administration at 127.0.0.1:8081 with the token in"
echo "$state/admin.token. What to do now: $config, then systemctl reload ngpu"
