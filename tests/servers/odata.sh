#!/usr/bin/env bash
# A real OData v4 service (SAP CAP 9, SQLite in memory) on loopback, for the tests: `odata.sh start FOLDER [PORT]`,
# `odata.sh stop FOLDER`. It installs what it needs into the folder (Node.js 20 with npm is there already) and prints the
# variable that the tests ask for.
set -euo pipefail
act="${1:?start or stop}"
folder="$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)"
port="${3:-4004}"
service="$(cd "$(dirname "$0")/odata" && pwd)"

stop() {
    if [ -f "$folder/pid" ]; then kill "$(cat "$folder/pid")" 2>/dev/null || true; fi
    rm -f "$folder/pid"
}

start() {
    cd "$folder"
    mkdir -p srv
    cp "$service/package.json" package.json
    cp "$service/crm.js" srv/crm.js
    # One entity set for each test at a time. Of what npm brings, nothing has to be compiled.
    {
        cat <<'CDS'
using { managed } from '@sap/cds/common';
aspect Contact : managed {
    key ID : String(40);
    @assert.format: '^(?!refused by the source$)[\s\S]*$'
    title  : LargeString;
    note   : LargeString;
    status : String(20);
}
annotate Contact with { modifiedAt @odata.etag }
@path: '/odata/v4/crm'
@cds.query.limit.max: 100
@cds.query.limit.default: 100
service CRM {
    action seed(contacts : String, records : Integer);
    action storm(contacts : String, title : String);
CDS
        for number in $(seq 48); do echo "    entity Contacts$number : Contact {}"; done
        echo "}"
    } >srv/crm.cds
    [ -d node_modules/@sap/cds ] || npm install --no-audit --no-fund --ignore-scripts --silent >npm.log 2>&1
    nohup node node_modules/@sap/cds/bin/serve.js all --in-memory --port "$port" >log 2>&1 &
    echo $! >pid
    for _ in $(seq 60); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.5
    done
    (exec 3<>"/dev/tcp/127.0.0.1/$port")
    echo "export ATTUNE_TEST_ODATA=http://127.0.0.1:$port/odata/v4/crm"
}

"$act"
