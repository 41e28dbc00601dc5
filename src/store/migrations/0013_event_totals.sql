-- Which events of contacts are counted. Intercom tells events apart by person, name and second; one is
-- notified and listed, under one id or another, and counts once. Kept beyond the events themselves:
-- a listing shows those of the last 90 days.
CREATE TABLE event_tellings (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,
    name      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (workspace, contact, name, at)
) STRICT, WITHOUT ROWID;

-- How often contacts did what.
CREATE TABLE event_totals (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,
    name      TEXT NOT NULL,
    count     INTEGER NOT NULL,
    first     INTEGER NOT NULL,
    last      INTEGER NOT NULL,
    PRIMARY KEY (workspace, contact, name)
) STRICT, WITHOUT ROWID;

-- Whose events were listed, and when that contact had been seen last.
CREATE TABLE event_readings (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,
    seen_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace, contact)
) STRICT, WITHOUT ROWID;

-- How selective the indexes are, as for the tables before.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('event_tellings', 'event_tellings', '1000000 1000000 20 4 1'),
    ('event_totals',   'event_totals',   '200000 200000 5 1'),
    ('event_readings', 'event_readings', '100000 100000 1');
ANALYZE sqlite_schema;
