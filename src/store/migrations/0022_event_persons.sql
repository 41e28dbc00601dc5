-- A custom event may name its person by the id that its sender gave him, or by an address, and not by
-- Intercom's id. So contacts are found by either.
ALTER TABLE records ADD COLUMN external_id TEXT;
UPDATE records SET external_id = nullif(body ->> 'external_id', '') WHERE kind = 'contact';
CREATE INDEX records_external_id ON records (workspace, external_id) WHERE external_id IS NOT NULL;

-- Custom events whose person nobody is known to be yet. A row goes when he becomes known, or with its
-- event.
CREATE TABLE strangers (
    workspace   TEXT NOT NULL,
    event       TEXT NOT NULL,
    external_id TEXT,
    email       TEXT,
    carried     INTEGER NOT NULL,              -- inputs that count as ignored until then
    PRIMARY KEY (workspace, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX strangers_external_id ON strangers (workspace, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX strangers_email ON strangers (workspace, email) WHERE email IS NOT NULL;

CREATE TRIGGER strangers_end AFTER DELETE ON records WHEN OLD.kind = 'event' BEGIN
    DELETE FROM strangers WHERE workspace = OLD.workspace AND event = OLD.id;
END;

-- How selective the indexes are, as for the tables before.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('records',   'records_external_id',   '1000000 1000000 2'),
    ('strangers', 'strangers',             '10000 10000 1'),
    ('strangers', 'strangers_external_id', '10000 10000 10'),
    ('strangers', 'strangers_email',       '10000 10000 10');
ANALYZE sqlite_schema;
