#!/usr/bin/env bash
# Builds the image, runs it as ../README.md says, and proves what it promises: nothing in it but the program, not root, a
# root that cannot be written, names and certificates found, edits that travel, a state that outlives the container.
#
#     sudo deploy/container/prove.sh
#
# Needs root, podman, sqlite3, curl, jq, openssl and socat. Building takes a quarter of an hour on two cores, the rest a
# minute. All traffic stays on this machine, but for the crates and the builder.
#
#     --builder IMAGE   the image to build in; by default that of the Containerfile
#     --builder here    one made on the spot: Debian bookworm (by debootstrap; DEBIAN_MIRROR names another mirror) with
#                       this machine's Rust and the crates it already has. For machines that reach no image registry
#     --profile dev     build in a third of the time, for trying the rest
#     --image NAME      do not build, prove this one
#     --may-skip        where a tool is missing: say so and end with 0
#
# PODMAN="podman --runtime runc" uses other options of podman, RUN_OPTIONS="--ulimit nofile=1000" of `podman run`,
# BUILD_OPTIONS="--isolation chroot" of `podman build`. compose.yaml is tried where there is a podman-compose (1.0.6 or newer).
set -uo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
repository="$(cd "$here/../.." && pwd)"
read -ra podman <<<"${PODMAN:-podman}"
read -ra run_options <<<"${RUN_OPTIONS:-}"
read -ra build_options <<<"${BUILD_OPTIONS:-}"

builder="" profile=release image="" may_skip=no
while [ $# -gt 0 ]; do
    case "$1" in
        --builder) builder="$2"; shift ;;
        --profile) profile="$2"; shift ;;
        --image) image="$2"; shift ;;
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

[ "$(id -u)" = 0 ] || missing "it must be root, to write for the image's user"
for tool in "${podman[0]}" sqlite3 curl jq openssl socat; do
    command -v "$tool" >/dev/null || missing "$tool is not installed"
done

# Names of our own, so that nothing else on this machine is touched.
name="attune-proof-$$"
work="$(mktemp -d -t "$name.XXXXXX")"
listeners=()
tidy() {
    [ ! -e "$work/composed" ] || compose down --volumes >/dev/null 2>&1
    [ "${#listeners[@]}" = 0 ] || kill "${listeners[@]}" 2>/dev/null
    "${podman[@]}" rm --volumes --force --time 1 --ignore "$name" "$name-simulator" >/dev/null 2>&1
    "${podman[@]}" volume rm --force "$name-state" >/dev/null 2>&1
    "${podman[@]}" secret rm "$name-acme" >/dev/null 2>&1
    rm -rf "$work"
}
trap tidy EXIT

failures=0
say() { printf '\n-- %s\n' "$*"; }

# What is to be proved, then the command that must succeed.
holds() {
    local what="$1"
    shift
    if "$@" >"$work/output" 2>&1; then
        printf 'proved   %s\n' "$what"
    else
        printf 'FAILED   %s\n' "$what"
        sed 's/^/         /' "$work/output" | tail -20
        failures=$((failures + 1))
    fi
}

# The same where nothing further could be told without it.
must() {
    local before="$failures"
    "$@"
    [ "$failures" = "$before" ] || { printf '\nnot proved, and the rest not tried\n'; exit 1; }
}

# The same for what becomes true within so many seconds.
within() {
    local seconds="$1" what="$2" end
    shift 2
    end=$((SECONDS + seconds))
    while ! "$@" >/dev/null 2>&1 && [ "$SECONDS" -lt "$end" ]; do sleep 0.2; done
    holds "$what" "$@"
}

# A builder made on the spot, for --builder here.
make_builder() {
    local toolchain
    command -v debootstrap >/dev/null || missing "debootstrap is not installed"
    command -v rustc >/dev/null || missing "rustc is not on the path"
    toolchain="$(rustc --print sysroot)"
    debootstrap --variant=minbase --include=gcc,libc6-dev,make,perl,ca-certificates bookworm "$work/builder" \
        ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/debootstrap.log" 2>&1 ||
        { tail -20 "$work/debootstrap.log"; missing "a Debian to build in could not be made"; }
    cp -a "$toolchain/bin/cargo" "$toolchain/bin/rustc" "$work/builder/usr/local/bin/"
    mkdir -p "$work/builder/usr/local/lib"
    cp -a "$toolchain/lib/." "$work/builder/usr/local/lib/"
    # Offline: the crates are those that a `cargo fetch` put here. In the builder, not in what is built with it.
    tar -C "$work/builder" -c . | "${podman[@]}" import --quiet --change "ENV CARGO_NET_OFFLINE=true" \
        --change "ENV PATH=/usr/local/bin:/usr/bin:/bin" - "localhost/attune-builder" >/dev/null
    rm -rf "$work/builder"
}

if [ -z "$image" ]; then
    say "building"
    image="localhost/attune"
    options=(--build-arg "PROFILE=$profile")
    if [ "$builder" = here ]; then
        make_builder
        builder="localhost/attune-builder"
        options+=(--volume "${CARGO_HOME:-$HOME/.cargo}/registry:/root/.cargo/registry")
    fi
    [ -z "$builder" ] || options+=(--build-arg "BUILDER=$builder")
    "${podman[@]}" build "${build_options[@]}" "${options[@]}" -f "$here/Containerfile" -t "$image" "$repository" || exit 1
fi

attune() { "${podman[@]}" run --rm "${run_options[@]}" --read-only --read-only-tmpfs=false --cap-drop all "$@"; }

say "the image"
"${podman[@]}" create --name "$name" "${run_options[@]}" "$image" >/dev/null
"${podman[@]}" export "$name" | tar -x -C "$work" --one-top-level=root
"${podman[@]}" rm --volumes "$name" >/dev/null
contents="etc/nsswitch.conf etc/ssl/certs/ca-certificates.crt usr/local/bin/attune usr/share/doc/attune/licenses.txt "
# Podman itself adds etc/hosts and the like, empty.
only_ours() { [ "$(cd "$work/root" && find . -type f -size +0 -printf '%P\n' | sort | tr '\n' ' ')" = "$contents" ] || { find "$work/root" -type f; return 1; }; }
holds "it holds the program, the certificates, a line for names, the licences, and nothing else" only_ours
is_static() { ! grep -q -a -e '/ld-linux' -e '/ld-musl' "$work/root/usr/local/bin/attune"; }
holds "the program is static: it names no loader" is_static
echo "         $(stat -c %s "$work/root/usr/local/bin/attune" | numfmt --to=iec) program"
inspected() { [ "$("${podman[@]}" image inspect --format "$1" "$image")" = "$2" ] || { "${podman[@]}" image inspect "$image"; return 1; }; }
holds "its user is 65532" inspected '{{.User}}' 65532:65532
must holds "--version" attune --network none "$image" --version
holds "demo, with a root that cannot be written" attune --network none "$image" demo

say "names and certificates"
mkdir "$work/outside"
cat >"$work/outside/attune.toml" <<'TOML'
[store.acme]
store_hash   = "abc123"
access_token = { env = "TOKEN" }
api_url      = "https://localhost:18443"
crm          = "erp"
mapping      = "b2b"

[crm.erp]
kind  = "sql"
url   = { env = "ERP_URL" }
table = "contacts"

[mapping.b2b]
match = [{ store = "customer:email", crm = "email" }]
field = [{ store = "attribute:Job title", crm = "job_title" }]
TOML
chmod -R a+rX "$work/outside"
chmod 711 "$work"
check() {
    attune --network host -v "$work/outside:/etc/attune:ro" -e TOKEN=token "$@" "$image" --patience 2s check >"$work/checked" 2>&1
    cat "$work/checked"
}
# Nothing listens on port 1: a name that was found is refused, one that was not found is not.
found() { check "${@:2}" -e "ERP_URL=postgres://erp@$1:1/erp" && grep -q '^attune: crm erp: .*connection refused' "$work/checked"; }
not_found() { ! found "$@" && grep -q '^attune: crm erp: .*the connection failed' "$work/checked"; }
holds "a name in /etc/hosts is found" found crm.test --add-host crm.test:127.0.0.1
holds "one that is not there is not" not_found other.test --add-host crm.test:127.0.0.1
if command -v dnsmasq >/dev/null; then
    dnsmasq --keep-in-foreground --conf-file=/dev/null --no-hosts --no-resolv --bind-interfaces \
        --listen-address 127.0.0.53 --address /crm.test/127.0.0.1 >"$work/dnsmasq.log" 2>&1 &
    listeners+=($!)
    echo "nameserver 127.0.0.53" >"$work/outside/resolv.conf"
    chmod 644 "$work/outside/resolv.conf"
    within 5 "a name of a DNS server is found" found erp.crm.test -v "$work/outside/resolv.conf:/etc/resolv.conf:ro"
else
    echo "skipped  names of a DNS server: dnsmasq is not installed"
fi
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
openssl req -x509 "${key[@]}" -days 2 -subj /CN=authority -keyout "$work/authority.key" -out "$work/outside/authority.pem" 2>/dev/null
openssl req "${key[@]}" -subj /CN=localhost -keyout "$work/server.key" -out "$work/server.request" 2>/dev/null
openssl x509 -req -days 2 -in "$work/server.request" -CA "$work/outside/authority.pem" -CAkey "$work/authority.key" \
    -CAcreateserial -extfile <(echo subjectAltName=DNS:localhost) -out "$work/server.pem" 2>/dev/null
chmod 644 "$work/outside/authority.pem"
"${podman[@]}" run -d --name "$name-simulator" "${run_options[@]}" --network host "$image" simulate \
    --listen 127.0.0.1:18080 --attribute "Job title:string" >/dev/null
socat "openssl-listen:18443,bind=127.0.0.1,reuseaddr,fork,verify=0,cert=$work/server.pem,key=$work/server.key" \
    tcp:127.0.0.1:18080 2>/dev/null &
listeners+=($!)
unknown_authority() { check -e ERP_URL=sqlite:none.db && grep -q 'UnknownIssuer' "$work/checked"; }
within 10 "an unknown authority is refused, by the certificates of the image" unknown_authority
known_authority() {
    check -e ERP_URL=sqlite:none.db -e SSL_CERT_FILE=/etc/attune/authority.pem && grep -qE 'store acme +ok' "$work/checked"
}
holds "a known one (SSL_CERT_FILE) is answered over TLS" known_authority
"${podman[@]}" rm --volumes --force --time 1 "$name-simulator" >/dev/null

say "a daemon, as deploy/README.md says"
token="a-token-that-must-not-be-seen"
mkdir -p "$work/attune" "$work/erp"
cat >"$work/attune/attune.toml" <<'TOML'
[defaults]
poll = "1s"

[store.acme]
store_hash   = "abc123"
access_token = { credential = "acme" }
api_url      = "http://127.0.0.1:8080"
crm          = "erp"
mapping      = "b2b"
rails        = { writes = { percent = 100 } }

[crm.erp]
kind        = "sql"
url         = "sqlite:/srv/erp/erp.db"
table       = "contacts"
modified_by = "database"
poll        = "1s"

[mapping.b2b]
match = [{ store = "customer:email", crm = "email" }]
field = [
  { store = "attribute:Job title",     crm = "job_title" },
  { store = "attribute:Wholesaler ID", crm = "wholesaler_id", direction = "to_store" },
]
TOML
chmod -R a+rX "$work/attune"
printf %s "$token" | "${podman[@]}" secret create "$name-acme" - >/dev/null
# The simulator lends its loopback: without TLS a store is only spoken to there.
"${podman[@]}" run -d --name "$name-simulator" "${run_options[@]}" -p 127.0.0.1:19464:9464 -p 127.0.0.1:18080:8080 "$image" \
    simulate --listen 0.0.0.0:8080 --token "$token" --customers 20 --missing 0.5 \
    --attribute "Job title:string" --attribute "Wholesaler ID:string" --quota 100000 >/dev/null
api="http://127.0.0.1:18080"
customers() { curl --silent --fail -H "X-Auth-Token: $token" "$api/stores/abc123/v3/customers?limit=250" >"$work/customers.json"; }
must within 10 "the simulated store answers" customers

contacts() { sqlite3 -cmd '.timeout 5000' "$work/erp/erp.db" "$1"; }
contacts "
CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, job_title TEXT, wholesaler_id TEXT,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
CREATE INDEX contacts_updated_at ON contacts (updated_at);
CREATE TRIGGER contacts_touch AFTER UPDATE OF email, job_title, wholesaler_id ON contacts
BEGIN UPDATE contacts SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = NEW.id; END;"
jq -r '.data[] | "INSERT INTO contacts (id, email) VALUES (\(.id), '\''\(.email)'\'');"' "$work/customers.json" |
    sqlite3 "$work/erp/erp.db"
chown -R 65532 "$work/erp"

same=(--read-only --cap-drop all --network "container:$name-simulator" -v "$work/attune:/etc/attune:ro"
    -v "$name-state:/var/lib/attune" -v "$work/erp:/srv/erp"
    --tmpfs /run/secrets --secret "$name-acme,target=acme,uid=65532,mode=0400" -e CREDENTIALS_DIRECTORY=/run/secrets)
daemon() {
    "${podman[@]}" run -d --name "$name" "${run_options[@]}" --health-interval disable \
        --health-cmd "CMD /usr/local/bin/attune --patience 5s healthcheck" "${same[@]}" "$image"
}
# What the daemon said; kept, for a container's log goes with it.
logs() { "${podman[@]}" logs "$name" 2>&1; }
has_event() { logs | grep -q "\"event\":\"$1\""; }
ready() { curl --silent --fail http://127.0.0.1:19464/readyz; }
edit_contact() { contacts "UPDATE contacts SET wholesaler_id = '$1' WHERE id = 1"; }
contact_has() { [ "$(contacts "SELECT job_title FROM contacts WHERE id = 1")" = "$1" ]; }
store_has() {
    curl --silent --fail -H "X-Auth-Token: $token" "$api/stores/abc123/v3/customers/attribute-values?customer_id:in=1" |
        jq -e --arg value "$1" 'any(.data[]; .attribute_value == $value)'
}
travels() {
    curl --silent --fail -X PUT "$api/_simulator/stores/abc123/customers/1/values" -d "{\"Job title\":\"$1 of the store\"}" >/dev/null
    within 20 "an edit in the store travels ($1)" contact_has "$1 of the store"
    edit_contact "$1 of the table"
    within 20 "an edit in the table travels ($1)" store_has "$1 of the table"
}

holds "check" "${podman[@]}" run --rm "${run_options[@]}" "${same[@]}" "$image" check
must holds "podman run -d" daemon
must within 30 "/readyz answers 200 from outside" ready
travels "first"
holds "a command beside it" "${podman[@]}" exec "$name" attune status
holds "its health check" "${podman[@]}" healthcheck run "$name"
holds "the same with --ready" "${podman[@]}" exec "$name" attune healthcheck --ready
process="$("${podman[@]}" inspect --format '{{.State.Pid}}' "$name")"
holds "it runs as 65532" grep -E '^Uid:\s65532\s65532\s' "/proc/$process/status"
read_only() { awk '$5 == "/" { print } $5 == "/" && $6 ~ /^ro/ { found = 1 } END { exit !found }' "/proc/$process/mountinfo"; }
holds "its root is read-only" read_only
state="$("${podman[@]}" volume inspect --format '{{.Mountpoint}}' "$name-state")"
mode_is() { [ "$(stat -c '%a %u' "$2")" = "$1 65532" ] || { stat "$2"; return 1; }; }
for file in "$state"/*; do holds "$(basename "$file") has mode 0600" mode_is 600 "$file"; done

# As a kernel would leave one that hangs: it takes connections, and answers none.
kill -STOP "$process"
ill() { ! "${podman[@]}" healthcheck run "$name"; }
holds "of one that hangs the health check fails" ill
kill -CONT "$process"
holds "and of one that goes on it does not" "${podman[@]}" healthcheck run "$name"

# As editors do: a new file in place of the old.
sed 's/poll = "1s"/poll = "2s"/' "$work/attune/attune.toml" >"$work/attune/new"
chmod 644 "$work/attune/new"
mv "$work/attune/new" "$work/attune/attune.toml"
"${podman[@]}" kill --signal HUP "$name" >/dev/null
within 20 "SIGHUP: a changed configuration is taken" has_event config.reloaded

stop() {
    local began took
    began="$(date +%s%N)"
    "${podman[@]}" stop --time 30 "$name" >/dev/null
    took=$((($(date +%s%N) - began) / 1000000))
    holds "podman stop: within 10 s ($took ms)" test "$took" -lt 10000
    holds "with 0" test "$("${podman[@]}" inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$name")" = "exited 0"
    holds "its last word is daemon.stopped" has_event daemon.stopped
    logs >>"$work/log"
    "${podman[@]}" rm --volumes "$name" >/dev/null
}
stop
curl --silent --fail -X PUT "$api/_simulator/stores/abc123/customers/1/values" -d '{"Job title":"while it was away"}' >/dev/null
remembers() { "${podman[@]}" run --rm "${run_options[@]}" "${same[@]}" "$image" history --json | jq -e 'any(.[]; .new == "first of the table")'; }
holds "another container remembers what the first one wrote" remembers
holds "and takes over" daemon
within 30 "/readyz answers 200" ready
within 20 "what was edited in between travels" contact_has "while it was away"
linked_once() { has_event daemon.started && ! logs | grep -q '"event":"link.created"'; }
holds "without linking anybody again" linked_once
"${podman[@]}" kill --signal KILL "$name" >/dev/null
logs >>"$work/log"
"${podman[@]}" rm --volumes --force "$name" >/dev/null
holds "after kill -9 the next one starts" daemon
within 30 "/readyz answers 200" ready
travels "after kill -9"
stop

if command -v podman-compose >/dev/null; then
    say "compose.yaml"
    composed="$work/composed"
    mkdir -p "$composed/attune" "$composed/credentials"
    # Beside whatever runs here already; the image is there.
    sed -e '/^    build:/,/^      dockerfile:/d' -e "s|image: attune|image: $image|" -e 's|127.0.0.1:9464:|127.0.0.1:19465:|' \
        "$here/compose.yaml" >"$composed/compose.yaml"
    sed 's|^url .*|url = "sqlite:/var/lib/attune/erp.db"|' "$work/attune/attune.toml" >"$composed/attune/attune.toml"
    install -m 0444 /dev/stdin "$composed/credentials/acme" <<<"$token"
    chmod -R a+rX "$composed"
    compose() {
        (cd "$composed" && podman-compose --podman-path "${podman[0]}" --podman-args "${podman[*]:1}" \
            --podman-run-args "${run_options[*]}" --project-name "$name-composed" "$@")
    }
    holds "up" compose up -d
    container="$("${podman[@]}" ps --quiet --filter "label=io.podman.compose.project=$name-composed")"
    within 20 "its health check" "${podman[@]}" healthcheck run "$container"
    # The store is out of reach from there: it lives on, and says so.
    holds "it answers on the port" curl --silent --fail http://127.0.0.1:19465/livez
    holds "down" compose down --volumes
else
    echo "skipped  compose.yaml: podman-compose is not installed"
fi

json() { jq -e -s 'length > 10 and all(has("timestamp") and has("level"))' "$work/log"; }
holds "every line of the log is JSON" json
quiet_about() { ! grep -F "$1" "$work/log"; }
holds "no token in it" quiet_about "$token"
holds "no e-mail in it" quiet_about "@example"

if [ "$failures" = 0 ]; then
    printf '\nall proved\n'
else
    printf '\n%s not proved\n' "$failures"
    exit 1
fi
