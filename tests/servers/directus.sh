#!/usr/bin/env bash
# A real Directus 12 with SQLite on loopback, for the tests: `directus.sh start FOLDER [PORT]`, `directus.sh stop FOLDER`.
# It installs what it needs into the folder (Node.js 20 with npm, its headers, a C++ compiler and Python are there
# already; SQLite is compiled, which takes a minute) and prints the variables that the tests ask for.
set -euo pipefail
act="${1:?start or stop}"
folder="$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)"
port="${3:-8055}"

stop() {
    if [ -f "$folder/pid" ]; then kill "$(cat "$folder/pid")" 2>/dev/null || true; fi
    rm -f "$folder/pid"
}

start() {
    cd "$folder"
    if [ ! -e installed ]; then
        # The headers of this Node.js, so that none are fetched.
        local headers
        headers="$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")"
        [ -e "$headers/include/node/node.h" ] || { echo "directus.sh: the headers of Node.js are not installed" >&2; return 1; }
        npm install --no-audit --no-fund --silent --ignore-scripts directus@12.4.0 >npm.log 2>&1
        npm rebuild --nodedir="$headers" --build-from-source sqlite3 >>npm.log 2>&1
        touch installed
    fi
    export HOST=127.0.0.1 PORT="$port" PUBLIC_URL="http://127.0.0.1:$port" DB_CLIENT=sqlite3 DB_FILENAME="$folder/crm.sqlite"
    export SECRET=a-secret-for-tests ADMIN_EMAIL=admin@example.com ADMIN_PASSWORD=password ADMIN_TOKEN=token-of-the-tests
    # No limit on calls, no word to anybody outside.
    export RATE_LIMITER_ENABLED=false PRESSURE_LIMITER_ENABLED=false TELEMETRY=false CACHE_ENABLED=false
    export QUERY_LIMIT_MAX=-1 MAX_BATCH_MUTATION=Infinity
    rm -f crm.sqlite
    node node_modules/directus/cli.js bootstrap >log 2>&1
    nohup node node_modules/directus/cli.js start >>log 2>&1 &
    echo $! >pid
    for _ in $(seq 120); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.5
    done
    (exec 3<>"/dev/tcp/127.0.0.1/$port")
    echo "export ATTUNE_TEST_DIRECTUS=http://127.0.0.1:$port ATTUNE_TEST_DIRECTUS_TOKEN=$ADMIN_TOKEN"
}

"$act"
