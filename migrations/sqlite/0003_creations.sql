-- Records that lack a partner which the mapping has made. The row stays when the partner was made, so that one that somebody
-- deletes is not made again.
CREATE TABLE creation (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    pair           INTEGER NOT NULL REFERENCES pair (id) ON DELETE CASCADE,
    record         INTEGER NOT NULL REFERENCES record (id) ON DELETE CASCADE, -- the one that lacks it
    side           TEXT    NOT NULL,             -- where it is made
    state          TEXT    NOT NULL,             -- 'wanted' | 'open' (sent, outcome unknown) | 'refused' | 'made' | 'declined'
    at             INTEGER,                      -- ours: when it was last sent
    field          INTEGER,                      -- the target's match field and
    value          TEXT,                         -- what it was to hold there, as compared, when it was last sent
    sent           TEXT,                         -- JSON: [[mapped, value, what both sides hold then], …], until it was read
    change         INTEGER NOT NULL DEFAULT 0,   -- refused: by what the record was then; again when it changes
    key            TEXT,                         -- made: the partner's key
    UNIQUE (pair, record)
);
CREATE INDEX creation_record ON creation (record);
CREATE INDEX creation_due ON creation (pair, state, id);
CREATE INDEX creation_value ON creation (field, value) WHERE state = 'open';
