#!/usr/bin/env bash
# Boots a small Debian with a systemd of its own, installs Attune in it as ../README.md says, and proves what the unit
# promises: it starts, reloads, stops, is restarted, is not restarted where that mends nothing, and outlives a full disk.
#
#     cargo build --release
#     sudo deploy/systemd/prove.sh
#
# Needs root, debootstrap, systemd-nspawn and a Debian mirror (DEBIAN_MIRROR names another one). Takes about three
# minutes. Everything happens in a temporary folder, and the machine has no network but its own loopback.
#
#     --binary PATH     the program to install; by default target/release/attune
#     --package FILE    install this Debian package instead, and prove what ../debian/package.sh promises too
#     --suite NAME      the Debian to boot; by default bookworm (systemd 252)
#     --machine FOLDER  keep the bare Debian here, and take it from here the next time
#     --may-skip        where a tool is missing: say so and end with 0
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
repository="$(cd "$here/../.." && pwd)"

binary="$repository/target/release/attune" package="" suite=bookworm machine="" may_skip=no
while [ $# -gt 0 ]; do
    case "$1" in
        --binary) binary="$2"; shift ;;
        --package) package="$2"; shift ;;
        --suite) suite="$2"; shift ;;
        --machine) machine="$2"; shift ;;
        --may-skip) may_skip=yes ;;
        *) echo "prove.sh: $1 is no option of it" >&2; exit 2 ;;
    esac
    shift
done

missing() {
    if [ "$may_skip" = yes ]; then
        echo "skipped: $1"
        exit 0
    fi
    echo "prove.sh: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || missing "it must be root, to boot a machine"
for tool in debootstrap systemd-nspawn; do
    command -v "$tool" >/dev/null || missing "$tool is not installed"
done
[ -z "$package" ] || [ -f "$package" ] || missing "$package is not there: make it with deploy/debian/package.sh"
[ -n "$package" ] || [ -x "$binary" ] || missing "$binary is not there: build it, or name one with --binary"

work="$(mktemp -d -t attune-systemd.XXXXXX)"
trap 'rm -rf "$work"' EXIT

echo "== a bare Debian"
if [ -z "$machine" ] || [ ! -e "$machine/usr/bin/jq" ]; then
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,curl,jq,sqlite3,procps,ca-certificates \
        "$suite" "${machine:-$work/bare}" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/debootstrap.log" 2>&1 ||
        { tail -20 "$work/debootstrap.log"; missing "a bare Debian could not be made"; }
fi
# A copy: the next proof begins with an untouched one.
root="$work/machine"
cp -a "${machine:-$work/bare}" "$root"

if [ -n "$package" ]; then
    # It is installed inside, where its scripts meet a systemd that runs.
    install -m 0644 "$package" "$root/attune.deb"
else
    echo "== installed as deploy/README.md says"
    install -m 0755 "$binary" "$root/usr/local/bin/attune"
    install -d -m 0755 "$root/etc/attune"
    install -m 0644 "$repository/config/minimal.toml" "$root/etc/attune/attune.toml"
    install -d -m 0700 "$root/etc/attune/credentials"
    install -m 0644 "$here/attune.service" "$root/etc/systemd/system/attune.service"
fi

echo "127.0.0.1 localhost" >"$root/etc/hosts"

# What happens inside is a unit of the machine, which ends it.
install -m 0755 "$here/prove-inside.sh" "$root/usr/local/bin/prove-inside.sh"
cat >"$root/etc/systemd/system/proof.service" <<UNIT
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/usr/local/bin/prove-inside.sh >/proof.log 2>&1; echo \$? >/proof.result'
ExecStopPost=/bin/systemctl poweroff --no-block
UNIT
ln -s ../proof.service "$root/etc/systemd/system/multi-user.target.wants/proof.service"
touch "$root/proof.log"

echo "== booted"
# --register=no, --keep-unit: no systemd need run outside. --private-network: nothing but loopback.
systemd-nspawn --quiet --directory "$root" --boot --register=no --keep-unit --private-network \
    --machine "attune-proof-$$" </dev/null >"$work/console.log" 2>&1 &
machine_process=$!
tail --pid="$machine_process" -n +1 -f "$root/proof.log" &
# Its exit code says nothing: it may stumble while it tidies up behind a machine that has ended well.
wait "$machine_process" || true
wait

if [ ! -e "$root/proof.result" ]; then
    tail -30 "$work/console.log"
    echo "prove.sh: the machine ended before the proof did" >&2
    exit 1
fi
exit "$(cat "$root/proof.result")"
