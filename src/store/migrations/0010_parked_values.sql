-- What was written to one of Brevo's contacts and not read back yet: Brevo drops what it does not take
-- without a word.
CREATE TABLE unverified (
    workspace TEXT NOT NULL,
    id        INTEGER NOT NULL,                -- Brevo's number of the contact
    owner     TEXT NOT NULL,
    sent      TEXT NOT NULL,                   -- values by attribute; an empty text was to clear
    at        INTEGER NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX unverified_at ON unverified (workspace, at);

-- Values that Brevo did not take. One that it did not take twice is parked: it is not written again
-- until another is decided or the attribute's type changes.
CREATE TABLE parked (
    workspace TEXT NOT NULL,
    id        INTEGER NOT NULL,
    attribute TEXT NOT NULL,
    sent      TEXT NOT NULL,
    misses    INTEGER NOT NULL,
    PRIMARY KEY (workspace, id, attribute)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER mirror_end AFTER DELETE ON mirror BEGIN
    DELETE FROM unverified WHERE workspace = OLD.workspace AND id = OLD.id;
    DELETE FROM parked WHERE workspace = OLD.workspace AND id = OLD.id;
END;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('unverified', 'unverified',    '10000 10000 1'),
    ('unverified', 'unverified_at', '10000 10000 10'),
    ('parked',     'parked',        '10000 10000 3 1');
ANALYZE sqlite_schema;
