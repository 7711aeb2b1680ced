#!/bin/sh
# deb.sh [FOLDER]: make FOLDER/ngpu_VERSION_ARCHITECTURE.deb of FOLDER/ngpu, the one file (FOLDER: dist).
#
# The package brings files; what is to be done on the host is done by install.sh, as without a package.
set -eu
umask 022

root="$(cd "$(dirname "$0")/.." && pwd)"
out="$(cd "${1:-$root/dist}" && pwd)"
version="$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/ngpu/__init__.py")"
architecture="$(dpkg --print-architecture)"
maintainer="${DEBFULLNAME:-whoever built this} <${DEBEMAIL:-ngpu@localhost.invalid}>"
stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT

put() { install -D -m "$1" "$2" "$stage/$3"; }
# from the standard input
write() {
    mkdir -p "$(dirname "$stage/$2")"
    cat >"$stage/$2"
    chmod "$1" "$stage/$2"
}

put 755 "$out/ngpu" usr/share/ngpu/ngpu
put 755 "$root/systemd/install.sh" usr/share/ngpu/install.sh
put 644 "$root/config/ngpu.yaml" usr/share/doc/ngpu/examples/ngpu.yaml
put 644 "$root/systemd/ngpu.yaml" etc/ngpu/ngpu.yaml
put 644 "$root/systemd/ngpu.socket" usr/lib/systemd/system/ngpu.socket
sed 's|/usr/local/bin/ngpu|/usr/bin/ngpu|' "$root/systemd/ngpu.service" | write 644 usr/lib/systemd/system/ngpu.service
gzip -9n <"$root/CHANGELOG.md" | write 644 usr/share/doc/ngpu/NEWS.gz
gzip -9n <<END | write 644 usr/share/doc/ngpu/changelog.gz
ngpu ($version) unstable; urgency=medium

  * NEWS.gz says what is new.

 -- $maintainer  Tue, 01 Jan 1980 00:00:00 +0000
END
write 644 usr/share/doc/ngpu/copyright <<'END'
Copyright is with the authors of ngpu, who give it to you under the Apache License 2.0, which is in
/usr/share/common-licenses/Apache-2.0.
The libraries in /usr/share/ngpu/ngpu, a zip file, have their licenses beside them there.
END
write 755 usr/bin/ngpu <<'END'
#!/bin/sh
# the program, as the package's installation has unpacked it
SHIV_ROOT=/usr/lib/ngpu exec /usr/lib/ngpu/ngpu "$@"
END

echo /etc/ngpu/ngpu.yaml | write 644 DEBIAN/conffiles
write 644 DEBIAN/control <<END
Package: ngpu
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Section: net
Priority: optional
Depends: python3 (>= 3.11), systemd
Installed-Size: $(du -sk --exclude=DEBIAN "$stage" | cut -f1)
Description: reverse proxy for fleets of GPU machines
 A gateway that deploys AI workloads to GPU machines, and passes each request
 to the best of their replicas: at once, as a durable task, or as a stream.
END
write 755 DEBIAN/preinst <<'END'
#!/bin/sh
set -e
if [ -e /usr/local/lib/ngpu ]; then
    echo "ngpu was installed by install.sh: run install.sh --uninstall first, which keeps configuration and data" >&2
    exit 1
fi
END
write 755 DEBIAN/postinst <<'END'
#!/bin/sh
set -e
[ "$1" != configure ] || /usr/share/ngpu/install.sh --packaged /usr/share/ngpu/ngpu
END
write 755 DEBIAN/prerm <<'END'
#!/bin/sh
set -e
[ "$1" != remove ] || /usr/share/ngpu/install.sh --packaged --uninstall
END
write 755 DEBIAN/postrm <<'END'
#!/bin/sh
set -e
[ "$1" = purge ] || exit 0
rm -rf /etc/ngpu /var/lib/ngpu /etc/systemd/system/ngpu.service.d /etc/systemd/system/ngpu.socket.d
if getent passwd ngpu >/dev/null; then
    userdel ngpu
fi
END

# the same bytes for the same files, as of the one file; nearly all of it is packed already
SOURCE_DATE_EPOCH=315532800 dpkg-deb --root-owner-group -Zgzip -z1 --build "$stage" "$out/ngpu_${version}_$architecture.deb"
