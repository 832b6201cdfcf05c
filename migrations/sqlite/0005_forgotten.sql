-- That a person was forgotten: when, and by which keys. Nothing else of them is left.
CREATE TABLE forgotten (
    id             INTEGER PRIMARY KEY,
    at             INTEGER NOT NULL,             -- ours
    source         INTEGER NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    key            TEXT    NOT NULL
);
CREATE INDEX forgotten_key ON forgotten (source, key);
