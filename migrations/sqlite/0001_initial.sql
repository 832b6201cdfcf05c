-- What Attune remembers. Times are milliseconds since the Unix epoch. "ours": on this machine's clock; "theirs": on
-- the source's clock. Values are JSON: a text, a list of texts, or null for "holds nothing".

-- One store or CRM. A store is its hash, a CRM what it says of itself; the name is a label.
CREATE TABLE source (
    id             INTEGER PRIMARY KEY,
    side           TEXT    NOT NULL,             -- 'store' | 'crm'
    name           TEXT    NOT NULL,
    identity       TEXT,
    paused         INTEGER NOT NULL DEFAULT 0,
    state          TEXT    NOT NULL DEFAULT 'new',  -- for people: 'ok', 'unauthorized', 'unreachable', …
    reason         TEXT,
    offset_ms      INTEGER NOT NULL DEFAULT 0,   -- their clock minus ours
    cursors        TEXT    NOT NULL DEFAULT '{}', -- JSON: feed -> how far it has been read (theirs), last overlap (ours)
    read_at        INTEGER,                      -- ours: when the feeds were last read to their end
    swept_at       INTEGER,                      -- ours: when a sweep last ended cleanly
    drift          INTEGER NOT NULL DEFAULT 0,   -- changes the last sweep found that the feeds had missed
    quota          TEXT,                         -- JSON, as last told
    UNIQUE (side, name)
);
CREATE UNIQUE INDEX source_identity ON source (side, identity) WHERE identity IS NOT NULL;

-- A field of a source that some mapping names. Never deleted: its id is in every `record.seen`.
CREATE TABLE field (
    id             INTEGER PRIMARY KEY,
    source         INTEGER NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    name           TEXT    NOT NULL,
    definition     TEXT,                         -- the source's id for it
    shape          TEXT,                         -- JSON: what it can hold
    changed        TEXT,                         -- set: the definition is gone or another; the sentence that says so
    swept          INTEGER NOT NULL DEFAULT 0,   -- a clean sweep has read it since it was last put into a mapping
    indexed        INTEGER NOT NULL DEFAULT 0,   -- and its values are in match_value
    UNIQUE (source, name)
);

-- A customer or contact, and all that was seen of it, linked or not.
-- seen: JSON [[field, value, modified (theirs), edited (theirs), acknowledged (ours), 1 if the value is our own], …];
-- a field not listed is unseen.
CREATE TABLE record (
    id             INTEGER PRIMARY KEY,
    source         INTEGER NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    key            TEXT    NOT NULL,
    gone           INTEGER NOT NULL DEFAULT 0,
    merged_into    TEXT,
    seen           TEXT    NOT NULL,
    changed        INTEGER NOT NULL,             -- the change number that last altered it
    UNIQUE (source, key)
);
CREATE INDEX record_changed ON record (source, changed);

-- The index that links are found by: match fields only, in the form in which they are compared.
CREATE TABLE match_value (
    field          INTEGER NOT NULL,
    value          TEXT    NOT NULL,
    record         INTEGER NOT NULL REFERENCES record (id) ON DELETE CASCADE,
    PRIMARY KEY (field, value, record)
) WITHOUT ROWID;
CREATE INDEX match_value_record ON match_value (record);

-- An observation older than one already seen: neither acted on nor dropped until a second read.
CREATE TABLE waiting (
    record         INTEGER NOT NULL REFERENCES record (id) ON DELETE CASCADE,
    field          INTEGER NOT NULL,
    value          TEXT    NOT NULL,
    until          INTEGER NOT NULL,             -- ours
    PRIMARY KEY (record, field)
) WITHOUT ROWID;

-- One store with one CRM under one mapping.
CREATE TABLE pair (
    id             INTEGER PRIMARY KEY,
    store          INTEGER NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    crm            INTEGER NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    mapping        TEXT    NOT NULL DEFAULT '',   -- fingerprint of all that decides
    matching       TEXT    NOT NULL DEFAULT '',   -- fingerprint of match and only
    decided        INTEGER NOT NULL DEFAULT 0,   -- change number up to which its links were looked at
    first_pass_at  INTEGER,                      -- ours: when a pass first completed
    passed_at      INTEGER,                      -- ours
    pass           TEXT,                         -- JSON: the balance of the last pass
    behind         INTEGER NOT NULL DEFAULT 0,   -- the checkpoint was older than the sides: compare only
    stopped        TEXT,                         -- JSON: the rails that stopped it
    stopped_at     INTEGER,
    approved_at    INTEGER,
    links          INTEGER NOT NULL DEFAULT 0,   -- how many it has: counting a million of them is a fifth of a small pass
    UNIQUE (store, crm)
);

-- A field of a mapping. One that is taken out and put back gets a new id, and so starts with nothing agreed.
CREATE TABLE mapped (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    pair           INTEGER NOT NULL REFERENCES pair (id) ON DELETE CASCADE,
    store_field    INTEGER NOT NULL REFERENCES field (id),
    crm_field      INTEGER NOT NULL REFERENCES field (id),
    rule           TEXT    NOT NULL,             -- JSON, to notice what changed
    removed_at     INTEGER
);

-- A durable pair of keys. agreed: JSON {mapped: value}; one not listed is unknown.
CREATE TABLE link (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    pair           INTEGER NOT NULL REFERENCES pair (id) ON DELETE CASCADE,
    store_record   INTEGER NOT NULL REFERENCES record (id),
    crm_record     INTEGER NOT NULL REFERENCES record (id),
    agreed         TEXT    NOT NULL DEFAULT '{}',
    unsettled      INTEGER,                      -- ours: since when something is left to do
    pending        INTEGER NOT NULL DEFAULT 0,   -- how many fields that is
    UNIQUE (pair, store_record),
    UNIQUE (pair, crm_record)
);
CREATE INDEX link_store ON link (store_record);
CREATE INDEX link_crm ON link (crm_record);
CREATE INDEX link_unsettled ON link (pair, id) WHERE unsettled IS NOT NULL;
CREATE TRIGGER link_made AFTER INSERT ON link BEGIN
    UPDATE pair SET links = links + 1 WHERE id = NEW.pair;
END;
CREATE TRIGGER link_ended AFTER DELETE ON link BEGIN
    UPDATE pair SET links = links - 1 WHERE id = OLD.pair;
END;

-- Pairs of records that a person has parted: never linked again by themselves.
CREATE TABLE parted (
    pair           INTEGER NOT NULL REFERENCES pair (id) ON DELETE CASCADE,
    store_key      TEXT    NOT NULL,
    crm_key        TEXT    NOT NULL,
    PRIMARY KEY (pair, store_key, crm_key)
) WITHOUT ROWID;

-- Every write: recorded before it leaves, with what it overwrites. An attempt is a row that is still open.
CREATE TABLE history (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,             -- ours
    pass           INTEGER NOT NULL,
    pair           INTEGER NOT NULL,
    link           INTEGER NOT NULL,
    mapped         INTEGER NOT NULL,
    side           TEXT    NOT NULL,             -- the side written
    record         INTEGER NOT NULL,             -- the target
    field          INTEGER NOT NULL,             -- the target's field
    store_key      TEXT    NOT NULL,
    crm_key        TEXT    NOT NULL,
    name           TEXT    NOT NULL,             -- the field's name (its store name)
    old            TEXT    NOT NULL,             -- as the target held it
    new            TEXT    NOT NULL,             -- as sent
    canonical      TEXT    NOT NULL,             -- what both sides agree on if it succeeds
    edited         INTEGER,                      -- ours: when the edit that it carries was made
    reason         TEXT    NOT NULL,
    counted        TEXT,                         -- the rail it counts under
    returned       TEXT,                         -- the side whose superseded value it carries, if it does
    outcome        TEXT    NOT NULL,             -- 'unknown' | 'written' | 'refused'
    open           INTEGER NOT NULL              -- 1: an attempt whose outcome is not settled
);
CREATE UNIQUE INDEX history_attempt ON history (record, field) WHERE open = 1;
CREATE INDEX history_link ON history (link, mapped, id);
CREATE INDEX history_pair ON history (pair, at);
-- What the rails count: not the many that a first pass fills in.
CREATE INDEX history_counted ON history (pair, at, counted, outcome) WHERE counted IS NOT NULL;

-- Records deleted or unlinked because they are gone, for the rails.
CREATE TABLE removal (
    id             INTEGER PRIMARY KEY,
    at             INTEGER NOT NULL,
    pair           INTEGER NOT NULL,
    counted        INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX removal_pair ON removal (pair, at);

-- What waits for a person. link and mapped: a field; record: a record.
CREATE TABLE held (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    pair           INTEGER NOT NULL REFERENCES pair (id) ON DELETE CASCADE,
    link           INTEGER REFERENCES link (id) ON DELETE CASCADE,
    mapped         INTEGER,
    record         INTEGER REFERENCES record (id) ON DELETE CASCADE,
    reason         TEXT    NOT NULL,
    since          INTEGER NOT NULL,             -- ours
    store_value    TEXT    NOT NULL DEFAULT 'null',
    crm_value      TEXT    NOT NULL DEFAULT 'null',
    detail         TEXT,                         -- a sentence, or the candidates
    state          TEXT    NOT NULL DEFAULT 'held',   -- 'held' | 'dropped' | 'take store' | 'take crm'
    UNIQUE (link, mapped),
    UNIQUE (pair, record)
);

-- What a rail stopped, so that `approve` lets through exactly that.
CREATE TABLE stopped (
    pair           INTEGER NOT NULL REFERENCES pair (id) ON DELETE CASCADE,
    link           INTEGER NOT NULL,
    mapped         INTEGER NOT NULL,             -- 0: the link itself, because a record is gone
    value          TEXT    NOT NULL,             -- side and value
    approved       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (pair, link, mapped)
) WITHOUT ROWID;

-- What other processes ask of the one that holds the lock.
CREATE TABLE request (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,
    request        TEXT    NOT NULL,
    answer         TEXT
);

-- One row: counters that only grow.
CREATE TABLE counter (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    change         INTEGER NOT NULL DEFAULT 0,
    pass           INTEGER NOT NULL DEFAULT 0
);
INSERT INTO counter (id) VALUES (1);
