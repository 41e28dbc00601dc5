-- Events are told apart by their ids. One that came without an id, as all do that were told before,
-- is the one of its person, name and second that comes next.
ALTER TABLE event_tellings RENAME TO earlier_tellings;
CREATE TABLE event_tellings (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,
    name      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    id        TEXT NOT NULL,                   -- empty: not told yet
    PRIMARY KEY (workspace, contact, name, at, id)
) STRICT, WITHOUT ROWID;
INSERT INTO event_tellings SELECT workspace, contact, name, at, '' FROM earlier_tellings;
DROP TABLE earlier_tellings;

DELETE FROM sqlite_stat1 WHERE tbl IN ('event_tellings', 'earlier_tellings');
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('event_tellings', 'event_tellings', '1000000 1000000 20 4 1 1');
ANALYZE sqlite_schema;
