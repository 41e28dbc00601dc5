-- Which sweep of Intercom saw a record last, by its number in `syncs`. A table of its own, since a
-- sweep writes to every row of it.
CREATE TABLE sightings (
    workspace TEXT NOT NULL,
    kind      TEXT NOT NULL,
    id        TEXT NOT NULL,
    sweep     INTEGER NOT NULL,                -- 0: none has seen it
    missed    INTEGER,                         -- the first complete sweep since that did not see it
    PRIMARY KEY (workspace, kind, id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER sightings_end AFTER DELETE ON records BEGIN
    DELETE FROM sightings WHERE workspace = OLD.workspace AND kind = OLD.kind AND id = OLD.id;
END;

-- How selective the index is, as for the tables before.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('sightings', 'sightings', '1000000 1000000 100000 1');
ANALYZE sqlite_schema;
