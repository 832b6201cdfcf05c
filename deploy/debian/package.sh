#!/usr/bin/env bash
# Makes a Debian package of a program that is built already, and prints the package's path.
#
#     cargo build --release --locked
#     deploy/debian/package.sh
#
# Needs dpkg-deb and gzip, cargo for the licences of what is linked in, and dpkg-shlibdeps (package dpkg-dev) to say which
# libraries of this Debian the program needs. Build on the oldest Debian that it is to run on.
#
#     --binary PATH     the program; by default target/release/attune
#     --out FOLDER      where the package goes; by default target/debian
#     --uncompressed    quicker, for trying it
#
# DEBFULLNAME and DEBEMAIL name who makes it, as for Debian's own tools.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
repository="$(cd "$here/../.." && pwd)"

binary="$repository/target/release/attune" out="$repository/target/debian" compression=xz
while [ $# -gt 0 ]; do
    case "$1" in
        --binary) binary="$2"; shift ;;
        --out) out="$2"; shift ;;
        --uncompressed) compression=none ;;
        *) echo "package.sh: $1 is no option of it" >&2; exit 2 ;;
    esac
    shift
done
[ -x "$binary" ] || { echo "package.sh: $binary is not there: build it, or name one with --binary" >&2; exit 1; }

version="$("$binary" --version | cut -d ' ' -f 2)"
architecture="$(dpkg --print-architecture)"
maintainer="${DEBFULLNAME:-Attune} <${DEBEMAIL:-attune@localhost}>"
# The same sources make the same package.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git -C "$repository" log -1 --format=%ct 2>/dev/null || date +%s)}"
umask 022

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
root="$work/root" documents="$work/root/usr/share/doc/attune"

install -D -m 0755 "$binary" "$root/usr/bin/attune"
install -D -m 0644 "$here/../systemd/attune.service" "$root/usr/lib/systemd/system/attune.service"

# No configuration is installed, only an example: any that comes with a package names somebody else's store, and each
# version that changes it would ask every operator what to do about theirs.
install -d -m 0755 "$root/etc/attune"
install -d -m 0700 "$root/etc/attune/credentials"
install -D -m 0644 -t "$documents/examples" "$repository"/config/minimal.toml "$repository"/config/full.toml
install -D -m 0644 -t "$documents/examples/profiles" "$repository"/config/profiles/*.toml

install -d "$root/usr/share/man/man1"
"$binary" man "$root/usr/share/man/man1"
find "$root/usr/share/man" -type f -exec gzip -9n {} +
install -d "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" \
    "$root/usr/share/fish/vendor_completions.d"
"$binary" completions bash >"$root/usr/share/bash-completion/completions/attune"
"$binary" completions zsh >"$root/usr/share/zsh/vendor-completions/_attune"
"$binary" completions fish >"$root/usr/share/fish/vendor_completions.d/attune.fish"

# What is needed at night is at hand there.
install -m 0644 -t "$documents" "$repository"/docs/{runbook,events,command-line}.md
install -D -m 0644 -t "$documents/connectors" "$repository"/docs/connectors/*.md
gzip -9nc "$repository/CHANGELOG.md" >"$documents/CHANGELOG.md.gz"
gzip -9n >"$documents/changelog.gz" <<CHANGELOG
attune ($version) unstable; urgency=medium

  * See CHANGELOG.md.gz beside this file.

 -- $maintainer  $(date --utc --date "@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %H:%M:%S +0000')
CHANGELOG
"$repository/deploy/licenses.sh" | gzip -9n >"$documents/licenses.txt.gz"
install -m 0644 "$here/copyright" "$documents/copyright"

# Which versions of which libraries: dpkg-shlibdeps wants a source package to write its answer for.
mkdir -p "$work/source/debian"
printf 'Source: attune\n\nPackage: attune\nArchitecture: any\n' >"$work/source/debian/control"
libraries="$(cd "$work/source" && dpkg-shlibdeps -O "$root/usr/bin/attune" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')"

mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<CONTROL
Package: attune
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -k -s --apparent-size "$root" | cut -f 1)
Depends: ca-certificates${libraries:+, $libraries}
Section: net
Priority: optional
Description: keeps BigCommerce customer data and a CRM or ERP in agreement
 A daemon that carries edits of customer data both ways between BigCommerce
 stores and a CRM, an ERP or a database: field by field, within the stores'
 quotas, with limits on what a day may change, and a history of every write.
 .
 Installing it starts nothing: it needs a configuration first. See
 /usr/share/doc/attune/README.Debian.
CONTROL
install -m 0644 "$here/README.Debian" "$documents/README.Debian"
for script in postinst prerm postrm; do install -m 0755 "$here/$script" "$root/DEBIAN/$script"; done
(cd "$root" && find usr -type f -printf '%P\0' | sort -z | sed -z 's|^|usr/|' | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
chmod 0644 "$root/DEBIAN/control" "$root/DEBIAN/md5sums"

# The program knows no time, but the folders do.
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$out"
package="$out/attune_${version}_$architecture.deb"
dpkg-deb --root-owner-group -Z"$compression" --build "$root" "$package" >/dev/null
echo "$package"
