#!/usr/bin/env bash
# Prints who made what is linked into the program, and under which terms: every crate, its licence, and the texts that its
# authors ask to be kept. For the copies that are given away: the Debian package and the image.
#
#     deploy/licenses.sh >licenses.txt
#
# Needs cargo and the crates that `cargo fetch` gets. Each text is printed once, under the crates that come with it.
set -euo pipefail
cd "$(dirname "$0")/.."

sources="${CARGO_HOME:-$HOME/.cargo}/registry/src"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

echo "Attune is distributed under the Apache License 2.0. Linked into it are these crates, each under its own terms:"
echo
cargo tree --locked --offline --edges normal --prefix none --no-dedupe --format '{p}|{l}' |
    sed -n -E 's/^([^ ]+) v([^ |]+)( \(proc-macro\))?\|(.*)$/\1-\2|\4/p' | sort -u >"$work/crates"
[ -s "$work/crates" ] || { echo "licenses.sh: cargo tree names no crate" >&2; exit 1; }
sed 's/|/  /' "$work/crates"

keep() {
    local digest
    digest="$(tr -s ' \t\r\n' ' ' <"$2" | sha256sum | cut -d ' ' -f 1)"
    [ -e "$work/$digest.text" ] || tr -d '\r' <"$2" >"$work/$digest.text"
    echo "$1" >>"$work/$digest.crates"
}

keep attune LICENSE
while IFS='|' read -r crate terms; do
    folder="$(compgen -G "$sources/*/$crate" | head -1)" || { echo "licenses.sh: $crate is not fetched" >&2; exit 1; }
    found=no
    for text in "$folder"/{LICENSE,LICENCE,COPYING,COPYRIGHT,NOTICE,UNLICENSE,license,licence}*; do
        [ -f "$text" ] || continue
        found=yes
        keep "$crate" "$text"
    done
    # Some publish none: then the name of the terms has to do.
    [ "$found" = yes ] || echo "$crate  ($terms)" >>"$work/without"
done <"$work/crates"

for text in "$work"/*.text; do
    printf '\n%s\n' "------------------------------------------------------------------------"
    sort -u "${text%.text}.crates" | paste -sd ' ' | fold -s -w 120
    printf '\n'
    cat "$text"
done
if [ -e "$work/without" ]; then
    printf '\n%s\n' "------------------------------------------------------------------------"
    printf 'These come without a text of their own:\n\n'
    cat "$work/without"
fi
