#!/usr/bin/env bash
# A real Tryton 8.2 on loopback, for the tests: `tryton.sh start FOLDER [PORT]`, `tryton.sh stop FOLDER`.
# It installs what it needs into the folder (Python 3 with venv is there already) and prints the variables that the tests ask for.
set -euo pipefail
act="${1:?start or stop}"
folder="$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)"
port="${3:-8200}"
module="$(cd "$(dirname "$0")/../connector_contract/tryton_module" && pwd)"

stop() {
    if [ -f "$folder/pid" ]; then kill "$(cat "$folder/pid")" 2>/dev/null || true; fi
    rm -f "$folder/pid"
}

start() {
    cd "$folder"
    python3 -m venv venv
    venv/bin/pip install --quiet 'trytond==8.2.*' 'trytond-party==8.2.*' passlib argon2-cffi
    modules="$(venv/bin/python -c 'import os, trytond; print(os.path.join(os.path.dirname(trytond.__file__), "modules"))')"
    rm -rf "$modules/attune_contract" && cp -r "$module" "$modules/attune_contract"
    mkdir -p sqlite && : >sqlite/crm.sqlite && echo admin >password
    printf '[database]\nuri = sqlite://\npath = %s/sqlite\n[web]\nlisten = 127.0.0.1:%s\n[password]\nlength = 1\nentropy = 0\n' \
        "$folder" "$port" >trytond.conf
    export TRYTONPASSFILE="$folder/password"
    venv/bin/trytond-admin -c trytond.conf -d crm --all --email admin@example.test >log 2>&1
    venv/bin/trytond-admin -c trytond.conf -d crm -u attune_contract --activate-dependencies >>log 2>&1
    nohup venv/bin/trytond -c trytond.conf -d crm >>log 2>&1 &
    echo $! >pid
    for _ in $(seq 60); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.5
    done
    (exec 3<>"/dev/tcp/127.0.0.1/$port")
    echo "export ATTUNE_TEST_TRYTON=http://127.0.0.1:$port ATTUNE_TEST_TRYTON_DATABASE=crm ATTUNE_TEST_TRYTON_PASSWORD=admin"
}

"$act"
