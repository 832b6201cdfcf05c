#!/usr/bin/env bash
# The inner half of prove.sh: runs in the machine that it boots, as root.
set -uo pipefail

token="a-token-that-must-not-be-seen"
# A name, so that looking one up within the unit's limits is proved too.
api="http://localhost:8080"
failures=0

say() { printf '\n-- %s\n' "$*"; }

# What is to be proved, then the command that must succeed.
holds() {
    local what="$1"
    shift
    if "$@" >/tmp/output 2>&1; then
        printf 'proved   %s\n' "$what"
    else
        printf 'FAILED   %s\n' "$what"
        sed 's/^/         /' /tmp/output | tail -20
        failures=$((failures + 1))
    fi
}

# The same for what becomes true within so many seconds.
within() {
    local seconds="$1" what="$2" end
    shift 2
    end=$((SECONDS + seconds))
    while ! "$@" >/dev/null 2>&1 && [ "$SECONDS" -lt "$end" ]; do sleep 0.2; done
    holds "$what" "$@"
}

property() { systemctl show --property "$1" --value attune; }
property_is() { [ "$(property "$1")" = "$2" ] || { echo "$1 is $(property "$1"), not $2"; return 1; }; }
# What Attune itself wrote, without what systemd says about it.
journal() { journalctl --unit attune --identifier attune --output cat --no-pager; }
# So many events of that name since the last `mark`.
mark() { cursor="$(journalctl --sync; journalctl --lines 0 --show-cursor --quiet | sed -n 's/^-- cursor: //p')"; }
has_event() { journalctl --unit attune --output cat --after-cursor "$cursor" | grep -q "\"event\":\"$1\""; }
ready() { curl --silent --fail http://127.0.0.1:9464/readyz; }

contacts() { sqlite3 -cmd '.timeout 5000' /srv/erp/erp.db "$1"; }
edit_store() { curl --silent --fail -X PUT "$api/_simulator/stores/abc123/customers/1/values" -d "{\"Job title\":\"$1\"}"; }
edit_contact() { contacts "UPDATE contacts SET $1 = '$2' WHERE id = 1"; }
contact_has() { [ "$(contacts "SELECT $1 FROM contacts WHERE id = 1")" = "$2" ]; }
store_has() {
    curl --silent --fail -H "X-Auth-Token: $token" "$api/stores/abc123/v3/customers/attribute-values?customer_id:in=1" |
        jq -e --arg value "$1" 'any(.data[]; .attribute_value == $value)'
}
travels() {
    edit_store "$1 of the store" >/dev/null
    within 20 "an edit in the store travels ($1)" contact_has job_title "$1 of the store"
    edit_contact wholesaler_id "$1 of the table"
    within 20 "an edit in the table travels ($1)" store_has "$1 of the table"
}
# As ../README.md says; the credentials are those of the unit.
as_root() { (cd /var/lib/attune && CREDENTIALS_DIRECTORY=/etc/attune/credentials attune --config /etc/attune/attune.toml "$@"); }

configuration() {
    cat <<TOML
[defaults]
poll = "1s"

[store.acme]
store_hash   = "abc123"
access_token = { credential = "acme" }
api_url      = "$api"
crm          = "erp"
mapping      = "b2b"
rails        = { writes = { percent = 100 } }

[crm.erp]
kind        = "sql"
url         = { credential = "erp" }
table       = "contacts"
modified_by = "database"
poll        = "1s"

[mapping.b2b]
match = [{ store = "customer:email", crm = "email" }]
field = [
  { store = "attribute:Job title",     crm = "job_title" },
  { store = "attribute:Wholesaler ID", crm = "wholesaler_id", direction = "to_store" },
$1
]
TOML
}

systemctl --version | head -1
if [ -e /attune.deb ]; then
    say "the package"
    holds "dpkg --install" dpkg --install /attune.deb
    not_enabled() { ! systemctl is-enabled attune && [ "$(systemctl is-active attune)" = inactive ]; }
    holds "it is neither enabled nor started" not_enabled
    holds "no configuration of somebody else's is there" test ! -e /etc/attune/attune.toml
    secret() { [ "$(stat -c '%a %U' /etc/attune/credentials)" = "700 root" ] || { stat /etc/attune/credentials; return 1; }; }
    holds "the folder for secrets is root's alone" secret
    examples() { (cd / && attune --config /usr/share/doc/attune/examples/minimal.toml check --offline); }
    holds "its example is sound" examples
    holds "it has manual pages" test -e /usr/share/man/man1/attune-held-resolve.1.gz
fi
attune="$(command -v attune)"
systemd-run --quiet --unit simulator "$attune" simulate --token "$token" --customers 20 --missing 0.5 \
    --attribute "Job title:string" --attribute "Wholesaler ID:string" --attribute "Town:string" --quota 100000
until curl --silent --fail -o /tmp/customers.json -H "X-Auth-Token: $token" "$api/stores/abc123/v3/customers?limit=250"; do
    sleep 0.2
done

# A SQLite table that another program owns: the group `erp` may write it.
groupadd --system erp
install -d -g erp -m 2770 /srv/erp
contacts "
CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, job_title TEXT, wholesaler_id TEXT, town TEXT,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
CREATE INDEX contacts_updated_at ON contacts (updated_at);
CREATE TRIGGER contacts_touch AFTER UPDATE OF email, job_title, wholesaler_id, town ON contacts
BEGIN UPDATE contacts SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = NEW.id; END;"
jq -r '.data[] | "INSERT INTO contacts (id, email) VALUES (\(.id), '\''\(.email)'\'');"' /tmp/customers.json | sqlite3 /srv/erp/erp.db
chgrp erp /srv/erp/erp.db
chmod 660 /srv/erp/erp.db

configuration "" >/etc/attune/attune.toml
install -m 0600 /dev/stdin /etc/attune/credentials/acme <<<"$token"
install -m 0600 /dev/stdin /etc/attune/credentials/erp <<<"sqlite:/srv/erp/erp.db"
# What an operator does with `systemctl edit attune`.
mkdir -p /etc/systemd/system/attune.service.d
cat >/etc/systemd/system/attune.service.d/override.conf <<UNIT
[Service]
LoadCredential=acme:/etc/attune/credentials/acme
LoadCredential=erp:/etc/attune/credentials/erp
SupplementaryGroups=erp
ReadWritePaths=/srv/erp
UNIT
systemctl daemon-reload

say "the unit itself"
verified() { [ -z "$(systemd-analyze verify "$(property FragmentPath)" 2>&1 | tee /dev/stderr)" ]; }
holds "systemd-analyze verify has nothing to say" verified
# With the drop-in, for its group and its folder count too.
holds "systemd-analyze security rates it 1.5 or lower" systemd-analyze security --no-pager --threshold=15 attune

say "start"
mark
holds "enable --now: it says that it is ready (Type=notify)" systemctl enable --quiet --now attune
holds "active" systemctl is-active attune
holds "the journal has daemon.started" has_event daemon.started
within 30 "/readyz answers 200" ready
within 15 "the status line counts the pairs: $(property StatusText)" test -n "$(property StatusText)"
travels "first"

say "state and rights"
process="$(property MainPID)"
process_has() { grep -E "^$1:\s+$2\$" "/proc/$process/status" || { grep "^$1:" "/proc/$process/status"; return 1; }; }
not_root() { ! process_has Uid "0\s.*"; }
holds "it is not root" not_root
holds "it has no capability" process_has CapEff 0+
holds "it cannot gain one" process_has NoNewPrivs 1
holds "its system calls are filtered" process_has Seccomp 2
holds "it leaves no dump of its memory, which holds the token" grep -E '^Max core file size +0 +0' "/proc/$process/limits"
read_only() { awk '$5 == "/" { print } $5 == "/" && $6 ~ /^ro/ { found = 1 } END { exit !found }' "/proc/$process/mountinfo"; }
holds "its root is read-only" read_only
mode_is() { [ "$(stat -L -c %a "$2")" = "$1" ] || { stat -L "$2"; return 1; }; }
holds "/var/lib/attune has mode 0700" mode_is 700 /var/lib/attune
for file in /var/lib/attune/*; do holds "$file has mode 0600" mode_is 600 "$file"; done
seen() { tr '\0' '\n' <"/proc/$process/environ" | grep -F "$token" || systemctl show attune | grep -F "$token"; }
not_seen() { ! seen; }
holds "the token is in no variable and no property" not_seen

say "commands beside it"
holds "status" as_root status
holds "held" as_root held
second() { as_root run; [ $? = 75 ]; }
holds "a second run ends with 75" second

say "reload"
configuration '  { store = "attribute:Town", crm = "town" },' >/etc/attune/attune.toml
mark
holds "systemctl reload" systemctl reload attune
within 20 "a changed configuration is taken" has_event config.reloaded
edit_contact town "Sheffield"
within 20 "its new field travels" store_has "Sheffield"
echo 'nonsense = "yes"' >>/etc/attune/attune.toml
mark
holds "systemctl reload" systemctl reload attune
within 20 "a broken one is rejected" has_event config.rejected
holds "and it stays active, in the same process" property_is MainPID "$process"
travels "after the rejected reload"
holds "no restart so far" property_is NRestarts 0

say "stop"
began="$(date +%s%N)"
holds "systemctl stop" systemctl stop attune
took=$((($(date +%s%N) - began) / 1000000))
holds "within 10 s: $took ms" test "$took" -lt 10000
holds "as a success" property_is Result success
holds "with 0" property_is ExecMainStatus 0
configuration "" >/etc/attune/attune.toml
edit_store "while it was stopped" >/dev/null
holds "a pass by root while it is stopped" as_root sync
holds "it starts again behind that" systemctl start attune
travels "after the pass by root"
systemctl stop attune
restore() {
    cd /var/lib/attune/ && sqlite3 attune.db ".backup copy" && rm -f attune.db attune.db-wal attune.db-shm && mv copy attune.db &&
        chown --reference=. attune.db
}
holds "a copy is put in place of the checkpoint" restore
mark
holds "it starts with the copy" systemctl start attune
travels "with the copy"
linked_again() { has_event link.created || has_event checkpoint.behind; }
not_linked_again() { ! linked_again; }
holds "and knows who is who" not_linked_again

say "kill -9"
process="$(property MainPID)"
kill -9 "$process"
restarted() { [ "$(property NRestarts)" = "$1" ] && systemctl is-active --quiet attune && ready; }
within 40 "it is restarted, and ready" restarted 1
travels "after kill -9"

say "a process that hangs (this takes over a minute)"
process="$(property MainPID)"
kill -STOP "$process"
within 120 "the watchdog ends it, and it is restarted" restarted 2
by_watchdog() { journalctl --unit attune --output cat _PID=1 | grep -i 'watchdog timeout'; }
holds "it was the watchdog" by_watchdog
travels "after the watchdog"

say "no restart where that mends nothing"
systemctl stop attune
echo 'nonsense = "yes"' >>/etc/attune/attune.toml
refused() { ! systemctl start attune; }
holds "a wrong configuration does not start" refused
sleep 12
holds "it ended with 78" property_is ExecMainStatus 78
holds "it is failed" property_is ActiveState failed
holds "it was not restarted" property_is NRestarts 0
configuration "" >/etc/attune/attune.toml
systemctl reset-failed attune
echo "another token" >/etc/attune/credentials/acme
mark
holds "with a refused token it starts" systemctl start attune
within 30 "it says so" has_event source.unauthorized
sleep 12
unauthorized() { as_root status --json | jq -e '.stores[0].state == "unauthorized"'; }
holds "status says unauthorized" unauthorized
once() { [ "$(journalctl --unit attune --output cat --after-cursor "$cursor" | grep -c '"event":"source.unauthorized"')" = 1 ]; }
holds "it says so once" once
holds "it was not restarted" property_is NRestarts 0
echo "$token" >/etc/attune/credentials/acme
holds "with the token put right, a restart" systemctl restart attune
travels "after the token"
systemctl stop attune

# The unit with a program in place of Attune that ends with this code.
ends_with() {
    printf '[Service]\nExecStart=\nExecStart=/bin/sh -c "exit %s"\n' "$1" >/etc/systemd/system/attune.service.d/zz-ends.conf
    systemctl daemon-reload
    systemctl reset-failed attune
    systemctl start attune 2>/dev/null
    sleep 7
}
ends_with 77
holds "after 77 it is not restarted" property_is NRestarts 0
ends_with 75
restarted_after() { [ "$(property NRestarts)" -ge 1 ] || { echo "NRestarts is $(property NRestarts)"; return 1; }; }
holds "after 75 it is" restarted_after
systemctl stop attune
rm /etc/systemd/system/attune.service.d/zz-ends.conf
systemctl daemon-reload
systemctl reset-failed attune 2>/dev/null

say "a full disk (its checkpoint on a file system of 24 MiB)"
small() {
    cp -a /var/lib/private/attune /var/lib/private/kept && mount -t tmpfs -o size=24m,mode=0700 none /var/lib/private/attune &&
        chown --reference=/var/lib/private/kept /var/lib/private/attune && cp -a /var/lib/private/kept/. /var/lib/private/attune/
}
holds "the checkpoint is moved to it" small
systemctl start attune
within 30 "it is ready there" ready
travels "before the disk is full"
dd if=/dev/zero of=/var/lib/private/attune/filler bs=64k 2>/dev/null
edit_store "while the disk was full" >/dev/null
unready() { curl --silent http://127.0.0.1:9464/readyz | tee /dev/stderr | grep 'the disk is full'; }
within 60 "/readyz says that the disk is full" unready
holds "it stays active" systemctl is-active attune
mark
systemctl restart attune
sleep 3
holds "started on a full disk, it stays active too" systemctl is-active attune
holds "no restart so far" property_is NRestarts 0
rm /var/lib/private/attune/filler
within 60 "with space again, it is ready" ready
within 30 "what was edited meanwhile travels" contact_has job_title "while the disk was full"
systemctl stop attune
umount /var/lib/private/attune

if [ -e /attune.deb ]; then
    say "upgrading, removing, purging the package"
    rm -rf /var/lib/private/kept
    systemctl start attune
    within 30 "it is ready" ready
    process="$(property MainPID)"
    holds "dpkg --install over it" dpkg --install /attune.deb
    another() { [ "$(property MainPID)" != "$process" ] && ready; }
    within 30 "the service that ran was restarted" another
    travels "after the upgrade"
    holds "dpkg --remove" dpkg --remove attune
    gone() { ! command -v attune && ! systemctl is-active attune && ! ls /usr/share/man/man1/attune* /usr/lib/systemd/system/attune.service; }
    holds "it is stopped and its files are gone" gone
    holds "configuration, secrets and checkpoint are not" \
        ls /etc/attune/attune.toml /etc/attune/credentials/acme /var/lib/private/attune/attune.db
    mark
    holds "dpkg --install again" dpkg --install /attune.deb
    holds "it is enabled as before" systemctl is-enabled attune
    systemctl start attune
    travels "after the second installation"
    holds "and knows who is who" not_linked_again
    dpkg --purge attune >/tmp/purged 2>&1
    holds "dpkg --purge" test "$(dpkg-query --show --showformat '${Status}' attune 2>/dev/null)" = ""
    says() { cat /tmp/purged; grep -F "rm -r /var/lib/attune /var/lib/private/attune /etc/attune" /tmp/purged; }
    holds "it says what is left" says
    holds "the checkpoint is" ls /var/lib/private/attune/attune.db
    eval "$(sed -n 's/.*\(rm -r .*\)/\1/p' /tmp/purged)"
    nothing_left() {
        local left
        left="$(find / -xdev -name '*attune*' -not -path '/proc/*' -not -path '/sys/*' -not -path /attune.deb \
            -not -path '/var/log/*' -not -path '/run/*' -not -path '/tmp/*')"
        [ -z "$left" ] || { echo "$left"; return 1; }
    }
    holds "after the command that it names, nothing is left" nothing_left
    # For what follows.
    dpkg --install /attune.deb >/dev/null 2>&1
fi

say "the journal"
json() { ! journal | grep -v -e '^{' -e '^attune: ' && journal | grep '^{' | jq -e 'has("timestamp") and has("level")'; }
holds "every line is JSON, but for why it could not start" json
one_reason() { [ "$(journal | grep -c '^attune: ')" = 1 ]; }
holds "which is one sentence: $(journal | grep '^attune: ')" one_reason
quiet_about() { ! journalctl --unit attune --output export | grep -aF "$1"; }
holds "no token in it" quiet_about "$token"
holds "no e-mail in it" quiet_about "@example"
journal | grep '^{' | jq -r .event | sort | uniq -c

say "systemd-analyze security"
systemd-analyze security --no-pager attune | tail -1
systemd-analyze security --no-pager attune | grep '^✗'

[ "$failures" = 0 ] && printf '\nall proved\n' || printf '\n%s not proved\n' "$failures"
[ "$failures" = 0 ]
