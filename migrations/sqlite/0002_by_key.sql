-- A CRM much larger than its stores is read by key: its linked records, and those that unlinked customers may be.
ALTER TABLE source ADD COLUMN by_key INTEGER NOT NULL DEFAULT 0;
