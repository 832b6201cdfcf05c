#!/usr/bin/env bash
# A real Odoo 14 on loopback, for the tests: `odoo14.sh start FOLDER [PORT]`, `odoo14.sh stop FOLDER`.
# It installs what it needs into the folder: Debian's package of bullseye, by a state of apt of its own, and Python packages of
# its time. Needs root, Debian's apt, Python 3.9 (PYTHON names it) and a PostgreSQL on 127.0.0.1:5432 whose user `postgres`
# needs no password: there it makes the role and the database `attune_odoo14`, and drops both at the end. Prints the variables
# that the tests ask for.
set -euo pipefail
act="${1:?start or stop}"
folder="$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)"
port="${3:-8114}"
name=attune_odoo14
administrator=(psql --quiet --no-psqlrc --host 127.0.0.1 --username postgres --dbname postgres)

stop() {
    if [ -f "$folder/pid" ]; then
        kill "$(cat "$folder/pid")" 2>/dev/null || true
        for _ in $(seq 40); do kill -0 "$(cat "$folder/pid")" 2>/dev/null || break; sleep 0.25; done
    fi
    rm -f "$folder/pid"
    "${administrator[@]}" -c "DROP DATABASE IF EXISTS $name WITH (FORCE)" -c "DROP ROLE IF EXISTS $name" >/dev/null 2>&1 || true
}

install_package() {
    local mirror
    mkdir -p apt/{lists/partial,cache/archives/partial}
    mirror="$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -1)"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bullseye main" >apt/sources.list
    cat >apt/apt.conf <<APT
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$folder/apt/lists";
Dir::Cache "$folder/apt/cache";
APT::Sandbox::User "root";
APT
    (cd apt && export APT_CONFIG="$folder/apt/apt.conf" && apt-get update -qq && apt-get download -qq odoo-14)
    dpkg-deb -x apt/odoo-14_*.deb deb
    rm -r apt
}

install_python() {
    local python="${PYTHON:-}"
    [ -n "$python" ] || python="$(command -v "$HOME"/.pyenv/versions/3.9*/bin/python python3.9 | head -1)"
    "$python" -m venv venv
    venv/bin/pip install --quiet --only-binary=lxml,psycopg2-binary,gevent,greenlet,Pillow,libsass,psutil,cffi,cryptography \
        'setuptools<58' wheel 'werkzeug<1' 'jinja2<3' 'markupsafe<2.1' 'lxml<5' 'psycopg2-binary<2.9' 'reportlab<4' babel chardet \
        decorator docutils feedparser gevent greenlet html2text idna libsass num2words ofxparse passlib Pillow polib psutil pydot \
        'pypdf2<2' pyserial python-dateutil pytz pyusb qrcode requests vobject 'xlrd<2' xlsxwriter xlwt zeep pyopenssl >pip.log 2>&1
    echo "$folder/deb/usr/lib/python3/dist-packages" >"$(echo venv/lib/python3*/site-packages)/odoo.pth"
}

# Keys can only be made inside; the fields are those of docs/testing.md.
seed() {
    venv/bin/python deb/usr/bin/odoo shell -c odoo.conf -d "$name" --no-http <<'PYTHON' 2>>log | sed -n 's/^.*KEYS=//p' >keys.json
import json
def key(user): return env['res.users.apikeys'].with_user(user).sudo()._generate('rpc', 'tests')
def made(login, groups):
    user = env['res.users'].create({'login': login, 'name': login, 'password': login, 'groups_id': [(6, 0, [env.ref(g).id for g in groups])]})
    return {'login': login, 'uid': user.id, 'key': key(user)}

admin = env.ref('base.user_admin')
keys = {
    'admin': {'login': 'admin', 'uid': admin.id, 'key': key(admin)},
    'sync': made('syncbot', ['base.group_user', 'base.group_partner_manager']),
    'readonly': made('readbot', ['base.group_user']),
}

model = env['ir.model'].search([('model', '=', 'res.partner')])
tiers = [(0, 0, {'value': tier, 'name': tier.title(), 'sequence': at}) for at, tier in enumerate(['gold', 'silver', 'bronze'])]
for name, kind, more in [('x_wholesaler_id', 'char', {}), ('x_price_tier', 'selection', {'selection_ids': tiers}), ('x_vip', 'boolean', {}), ('x_credit', 'float', {}), ('x_since', 'date', {})]:
    more = dict(more, model_id=model.id, name=name, ttype=kind, field_description=name, state='manual')
    _ = env['ir.model.fields'].create(more)

env.cr.commit()
print('KEYS=' + json.dumps(keys))
PYTHON
    chmod 600 keys.json
    grep -q admin keys.json
}

start() {
    cd "$folder"
    [ -d deb ] || install_package
    [ -e venv/lib/python3*/site-packages/odoo.pth ] || install_python
    stop
    "${administrator[@]}" -c "CREATE ROLE $name LOGIN PASSWORD '$name'" -c "CREATE DATABASE $name OWNER $name TEMPLATE template0 ENCODING 'UTF8'"
    cat >odoo.conf <<CONFIGURATION
[options]
db_host = 127.0.0.1
db_port = 5432
db_user = $name
db_password = $name
db_name = $name
dbfilter = ^$name\$
list_db = False
http_interface = 127.0.0.1
http_port = $port
data_dir = $folder/data
workers = 0
max_cron_threads = 0
without_demo = True
addons_path = $folder/deb/usr/lib/python3/dist-packages/odoo/addons
CONFIGURATION
    venv/bin/python deb/usr/bin/odoo -c odoo.conf -i base,web,contacts --stop-after-init >log 2>&1
    seed
    nohup venv/bin/python deb/usr/bin/odoo -c odoo.conf >>log 2>&1 &
    echo $! >pid
    for _ in $(seq 120); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.5
    done
    (exec 3<>"/dev/tcp/127.0.0.1/$port")
    echo "export ATTUNE_TEST_ODOO_14=http://127.0.0.1:$port ATTUNE_TEST_ODOO_14_KEYS=$folder/keys.json" \
        "ATTUNE_TEST_ODOO_14_POSTGRES=postgres://$name:$name@127.0.0.1/$name"
}

"$act"
