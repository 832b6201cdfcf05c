#!/usr/bin/env bash
# Proves rules and dashboard on what Attune really exposes: starts `attune simulate` with two stores, a SQLite table, `attune run`
# and a Prometheus that scrapes it, all on loopback; lets people edit, a field be held, a store be paused, another go away, the
# configuration be rejected; then asks Prometheus for every expression of the dashboard and of the rules. Each must give a result
# (of a rule that raises no alert its left side, before the comparison), apart from what is said below to give none rightly; and
# every metric in it must be in the exposition.
#
#   deploy/monitoring/prove.sh [PATH OF ATTUNE]      default: target/debug/attune, built where it is not there
#
# Needs: prometheus and promtool (Debian: prometheus), curl, jq, python3. About a minute. Ends what it started.
set -euo pipefail
cd "$(dirname "$0")/../.."

attune="${1:-target/debug/attune}"
for program in prometheus promtool curl jq python3; do
    command -v "$program" >/dev/null 2>&1 || { echo "skipped: $program is not installed"; exit 0; }
done
[ -x "$attune" ] || cargo build --locked --quiet --bin attune
attune="$(realpath "$attune")"

folder="$(mktemp -d /tmp/attune-monitoring.XXXXXX)"
started=()
finish() {
    local status=$?
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [ "$status" -ne 0 ]; then
        echo "failed; the last lines of Attune:"
        tail -n 5 "$folder/attune.log" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap finish EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
must() { # SECONDS WHAT COMMAND…
    local until=$((SECONDS + $1)) what="$2"
    shift 2
    while ! "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$until" ]; then echo "not so: $what"; exit 1; fi
        sleep 0.3
    done
    echo "  $what"
}

simulator="127.0.0.1:$(free_port)" daemon="127.0.0.1:$(free_port)" prometheus="127.0.0.1:$(free_port)"
sim() { curl --silent --show-error --fail -X "$1" -d "${3:-}" "http://$simulator/_simulator/stores/$2"; }

echo "== Attune on two simulated stores and a SQLite table"
"$attune" simulate --listen "$simulator" --store acme --store bravo --token token --customers 12 --attribute "Job title:string" \
    >"$folder/simulator.log" 2>&1 &
started+=($!)
must 20 "the simulator answers" curl --silent --fail "http://$simulator/_simulator"
sim GET acme/customers >"$folder/customers.json"
python3 - "$folder" <<'PYTHON'
import json, sqlite3, sys
folder = sys.argv[1]
customers = json.load(open(f"{folder}/customers.json"))
customers = customers if isinstance(customers, list) else customers["customers"]
crm = sqlite3.connect(f"{folder}/crm.db")
crm.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, job_title TEXT, updated_at TEXT)")
for customer in customers:
    crm.execute("INSERT INTO contacts (email, updated_at) VALUES (?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", [customer["email"]])
crm.commit()
PYTHON
contact() { # ID TITLE
    python3 -c 'import sqlite3, sys
crm = sqlite3.connect(sys.argv[1], timeout=20)
crm.execute("UPDATE contacts SET job_title = ?, updated_at = strftime(\"%Y-%m-%dT%H:%M:%fZ\", \"now\") WHERE id = ?", [sys.argv[3], sys.argv[2]])
crm.commit()' "$folder/crm.db" "$1" "$2"
}
configure() {
    cat >"$folder/attune.toml" <<TOML
[state]
url = "sqlite:$folder/attune.db"
[server]
listen = "$daemon"
[defaults]
access_token = { env = "TOKEN" }
api_url = "http://$simulator"
crm = "erp"
mapping = "b2b"
poll = "1s"
sweep = "*/20 * * * * *"
quarantine = "3s"
[store.acme]
store_hash = "acme"
[store.bravo]
store_hash = "bravo"
[crm.erp]
kind = "sql"
url = "sqlite:$folder/crm.db"
table = "contacts"
poll = "1s"
sweep = "*/20 * * * * *"
[mapping.b2b]
match = [{ store = "customer:email", crm = "email" }]
field = [{ store = "attribute:Job title", crm = "job_title" }]
TOML
}
configure
(cd "$folder" && TOKEN=token exec "$attune" --config attune.toml run) >"$folder/attune.log" 2>&1 &
attune_process=$!
started+=("$attune_process")
must 60 "Attune is ready" curl --silent --fail "http://$daemon/readyz"

echo "== Prometheus"
mkdir "$folder/data"
cat >"$folder/prometheus.yml" <<YAML
global: { scrape_interval: 1s, evaluation_interval: 2s }
scrape_configs:
  - { job_name: attune, static_configs: [{ targets: ["$daemon"] }] }
rule_files: ["$PWD/deploy/monitoring/prometheus-rules.yaml"]
YAML
promtool check config "$folder/prometheus.yml" >/dev/null
prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/data" --web.listen-address="$prometheus" \
    --log.level=error >"$folder/prometheus.log" 2>&1 &
started+=($!)
ask() { curl --silent --show-error --fail --data-urlencode "query=$1" "http://$prometheus/api/v1/query"; }
gives() { ask "$1" | jq --exit-status '.data.result | length > 0'; }
must 30 "it scrapes Attune" gives 'up{job="attune"} == 1'

echo "== things happen"
for round in 1 2 3 4 5; do
    contact "$round" "CRM title $round"
    sim PUT "acme/customers/$((round + 6))/values" "{\"Job title\":\"Store title $round\"}" >/dev/null
    sleep 1
done
contact 1 "$(printf 'x%.0s' $(seq 256))"
must 30 "a field is held" gives 'sum(attune_held{store="acme"}) > 0'
must 30 "values are written to both sides" gives 'sum(attune_writes_total{side="store", outcome="written"}) > 0 and sum(attune_writes_total{side="crm", outcome="written"}) > 0'
sim POST acme/faults '"5xx*2@GET attribute-values"' >/dev/null || sim POST acme/faults '"5xx*2"' >/dev/null
(cd "$folder" && TOKEN=token "$attune" --config attune.toml pause acme) >/dev/null
must 30 "a store is paused" gives 'attune_source_state{store="acme", state="paused"} == 1'
sim PUT bravo/outage true >/dev/null
must 30 "another is unreachable" gives 'attune_source_state{store="bravo", state="unreachable"} == 1'
sed -i 's/store_hash/store_hsah/' "$folder/attune.toml"
kill -HUP "$attune_process"
must 30 "the configuration is rejected" gives 'attune_config_last_reload_successful == 0'
configure
kill -HUP "$attune_process"
must 30 "and taken" gives 'attune_config_last_reload_successful == 1'
must 60 "sweeps are made" gives 'attune_sweep_duration_seconds_count{crm="erp"} > 1'
curl --silent "http://$daemon/metrics" >"$folder/exposition"

echo "== every expression of the dashboard and of the rules"
# What rightly gives nothing here: nobody's pass failed. A rule that raises no alert gives nothing either, and says so by its
# left side, which must give a result.
empty_panels='sum by (reason) (increase(attune_pass_failures_total'
jq --raw-output '.panels[].targets[]?.expr' deploy/monitoring/dashboard.json |
    sed 's/\$__rate_interval/1m/g; s/\$store/.*/g; s/\$crm/.*/g; s/^/panel\t/' >"$folder/expressions"
curl --silent --fail "http://$prometheus/api/v1/rules" |
    jq --raw-output '.data.groups[].rules[] | "alert \(.name)\t\(.query)"' >>"$folder/expressions"
panels=0 rules=0 raised=0 empty=0 wrong=0
while IFS=$'\t' read -r name expression; do
    if [ "$name" = panel ]; then panels=$((panels + 1)); else rules=$((rules + 1)); fi
    if ! answer="$(ask "$expression")"; then
        echo "  cannot be evaluated: $expression"
        wrong=$((wrong + 1))
    elif jq --exit-status '.data.result | length > 0' <<<"$answer" >/dev/null; then
        if [ "$name" != panel ]; then raised=$((raised + 1)); fi
    elif [ "$name" != panel ] && gives "$(sed -E 's/ (>|<|==|!=|>=|<=) .*//' <<<"$expression")" >/dev/null; then
        :
    elif [ "${expression#"$empty_panels"}" != "$expression" ]; then
        empty=$((empty + 1))
    else
        echo "  gives nothing: $name $expression"
        wrong=$((wrong + 1))
    fi
    # Whatever it gives: what it asks for is there.
    for metric in $(grep --only-matching --extended-regexp 'attune_[a-z_]+' <<<"$expression" | sort -u); do
        if ! grep --quiet --extended-regexp "^$metric(\{| )" "$folder/exposition"; then
            echo "  $metric is not exposed: $expression"
            wrong=$((wrong + 1))
        fi
    done
done <"$folder/expressions"
echo "  $panels of the dashboard: $((panels - empty)) give a result, $empty rightly gives none here"
echo "  $rules rules: $raised would raise an alert now, the left side of each gives a result"
echo "  $wrong are wrong"
[ "$wrong" -eq 0 ] && [ "$raised" -ge 3 ]

echo "== the scrape is sound"
curl --silent --fail --header 'Accept: application/openmetrics-text' "http://$daemon/metrics" | tail -n 1 | grep --quiet '^# EOF$'
ask 'scrape_samples_scraped{job="attune"}' | jq --raw-output '.data.result[] | "  \(.value[1]) samples in a scrape of two pairs"'
ask 'max_over_time(scrape_duration_seconds{job="attune"}[5m])' | jq --raw-output '.data.result[] | "  \(.value[1]) s for the slowest scrape"'
errors="$(curl --silent "http://$prometheus/api/v1/targets" | jq --raw-output '.data.activeTargets[].lastError')"
[ -z "$errors" ] || { echo "$errors"; exit 1; }

echo "== ready queries on the journal, over the lines of this run"
for query in trouble held writes passes window outages people standing; do
    ATTUNE_LINES="$folder/attune.log" deploy/monitoring/journald.sh "$query" >"$folder/answer"
    case "$query" in
    standing) ;; # Every 15 minutes.
    *) [ -s "$folder/answer" ] || { echo "  $query finds nothing"; exit 1; } ;;
    esac
done
ATTUNE_LINES="$folder/attune.log" deploy/monitoring/journald.sh store -1h acme | grep --quiet pass.completed
ATTUNE_LINES="$folder/attune.log" deploy/monitoring/journald.sh quota >/dev/null
ATTUNE_LINES="$folder/attune.log" deploy/monitoring/journald.sh drift >/dev/null
echo "  each reads them"
echo "all holds"
