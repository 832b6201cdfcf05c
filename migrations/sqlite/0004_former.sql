-- Links that ended by themselves: a record was gone, or did not take part any more. Back again they are linked again, by
-- their keys, whatever became of the values that they matched by.
CREATE TABLE former (
    pair           INTEGER NOT NULL REFERENCES pair (id) ON DELETE CASCADE,
    store_record   INTEGER NOT NULL REFERENCES record (id) ON DELETE CASCADE,
    crm_record     INTEGER NOT NULL REFERENCES record (id) ON DELETE CASCADE,
    PRIMARY KEY (pair, store_record),
    UNIQUE (pair, crm_record)
) WITHOUT ROWID;
CREATE INDEX former_store ON former (store_record);
CREATE INDEX former_crm ON former (crm_record);
-- Whoever is linked has nobody to go back to.
CREATE TRIGGER link_made_again AFTER INSERT ON link BEGIN
    DELETE FROM former WHERE pair = NEW.pair AND store_record = NEW.store_record;
    DELETE FROM former WHERE pair = NEW.pair AND crm_record = NEW.crm_record;
END;
CREATE TRIGGER link_moved AFTER UPDATE OF store_record, crm_record ON link BEGIN
    DELETE FROM former WHERE pair = NEW.pair AND store_record = NEW.store_record;
    DELETE FROM former WHERE pair = NEW.pair AND crm_record = NEW.crm_record;
END;
