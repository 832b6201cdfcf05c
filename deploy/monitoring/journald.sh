#!/bin/sh
# Ready queries on the journal: JSON lines, one event each. `deploy/monitoring/journald.sh` lists them;
# `deploy/monitoring/journald.sh NAME [SINCE]` runs one (SINCE as journalctl takes it, "-1h" by default). Needs jq.
# ATTUNE_LINES=FILE reads lines from a file instead ("-": from standard input).
set -eu

since="${2:--1h}"

lines() {
    if [ -n "${ATTUNE_LINES:-}" ]; then cat -- "$ATTUNE_LINES"; else journalctl -u attune -t attune -o cat --since "$since"; fi
}

# What is no JSON (a complaint before logging began) is left out.
query() { lines | jq --raw-input --raw-output "fromjson? | objects | $1"; }

about='((.store // "") + (if .store and .crm then " with " else "" end) + (.crm // ""))'

case "${1:-}" in
trouble)   query "select(.level == \"WARN\" or .level == \"ERROR\") | \"\\(.timestamp) \\(.level) \\(.event) \\(.message)\"" ;;
store)     query "select(.store == \"${3:?the name of a store}\") | \"\\(.timestamp) \\(.event) \\(.message)\"" ;;
held)      query "select(.event == \"field.held\" or .event == \"record.held\") | \"\\(.reason)\\t\\($about)\"" | sort | uniq -c | sort -rn ;;
writes)    query "select(.event == \"pass.completed\") | \"\\($about)\\t\\(.written)\"" |
               awk -F '\t' '{ sum[$1] += $2 } END { for (pair in sum) print sum[pair] "\t" pair }' | sort -rn ;;
passes)    query "select(.event == \"pass.completed\" or .event == \"pass.failed\") | \"\\(.timestamp) \\($about): \\(.event) in \\(.duration_ms) ms\"" ;;
window)    query "select(.event == \"pass.completed\") | .recheck_window_ms" | sort -n | tail -n 1 ;;
quota)     query "select(.event == \"quota.waiting\" or .event == \"quota.throttled\") | \"\\(.event)\\t\\($about)\"" | sort | uniq -c | sort -rn ;;
outages)   query "select(.event == \"source.unreachable\" or .event == \"source.unauthorized\" or .event == \"source.recovered\") | \"\\(.timestamp) \\(.message)\"" ;;
drift)     query "select(.event == \"drift.found\") | \"\\(.timestamp) \\($about): \\(.drift)\"" ;;
people)    query "select(.event == \"operator.acted\") | \"\\(.timestamp) \\(.message)\"" ;;
standing)  query "select(.event == \"store.heartbeat\") | \"\\($about)\\t\\(.state), \\(.pending) pending, \\(.held) held, \\(.timestamp)\"" |
               awk -F '\t' '{ last[$1] = $2 } END { for (pair in last) print pair ": " last[pair] }' | sort ;;
*)
    cat <<'NAMES'
trouble    warnings and errors, as sentences
store      everything about one store: journald.sh store -1h acme
held       what came to be held, by reason and pair
writes     fields written, by pair
passes     passes and how long they took
window     the longest time from a last read to the sending of its write, in ms
quota      who waits for a quota, and who got a 429
outages    outages and their ends
drift      changes that feeds had missed
people     what people did
standing   how each pair stood when it last said so
NAMES
    [ -z "${1:-}" ] || exit 2
    ;;
esac
