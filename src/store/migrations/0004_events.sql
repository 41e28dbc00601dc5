-- The last derivation of each record that ended as decided. What a later one tracks is judged by it:
-- new rules that look at an old snapshot find nothing new.
CREATE TABLE derivations (
    workspace TEXT NOT NULL,
    subject   TEXT NOT NULL,                   -- `contact:665f…`
    rule_set  TEXT NOT NULL,
    snapshot  BLOB NOT NULL,                   -- the digest of what it was derived from
    as_of     INTEGER NOT NULL,
    PRIMARY KEY (workspace, subject)
) STRICT, WITHOUT ROWID;

-- Events that rules tracked, one row for each key: record, name and time. A row lives as long as its
-- record, so that no event is sent twice; what it says is kept while it may still be sent.
CREATE TABLE events (
    seq       INTEGER PRIMARY KEY,             -- the order in which they were tracked
    workspace TEXT NOT NULL,
    id        TEXT NOT NULL,                   -- the digest of the key, which receivers see as `event_id`
    subject   TEXT NOT NULL,                   -- whose rules tracked it
    contact   TEXT NOT NULL,                   -- the Intercom contact that it is about
    name      TEXT NOT NULL,
    at        INTEGER,                         -- null: once for each record and name
    state     TEXT NOT NULL,                   -- due, sent, known (never sent, see `reason`), dead
    reason    TEXT,
    properties TEXT,
    origin    TEXT,
    rule_set  TEXT,
    date      INTEGER,                         -- what Brevo is told, fixed before the first attempt
    attempts  INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    doubt     INTEGER NOT NULL DEFAULT 0,      -- 1: an attempt may have reached Brevo; 2: its answer was lost
    due       INTEGER,
    UNIQUE (workspace, id)
) STRICT;
CREATE INDEX events_due ON events (workspace, seq, due) WHERE state = 'due';
CREATE INDEX events_next ON events (workspace, due) WHERE state = 'due';
CREATE INDEX events_contact ON events (workspace, contact, seq) WHERE state = 'due';
CREATE INDEX events_subject ON events (workspace, subject);
CREATE INDEX events_reason ON events (workspace, reason) WHERE reason IS NOT NULL;

CREATE TRIGGER events_end AFTER DELETE ON records BEGIN
    DELETE FROM events WHERE workspace = OLD.workspace AND subject = OLD.kind || ':' || OLD.id;
    DELETE FROM derivations WHERE workspace = OLD.workspace AND subject = OLD.kind || ':' || OLD.id;
END;

-- A store that was in use before events were sent begins with those from now on.
INSERT INTO meta (workspace, name, value)
    SELECT DISTINCT workspace, 'live_since', CAST(unixepoch() AS TEXT) FROM syncs WHERE state <> 'queued';

-- How selective the indexes are, as for the tables before.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('derivations', 'derivations',               '1000000 1000000 1'),
    ('events',      'sqlite_autoindex_events_1', '1000000 1000000 1'),
    ('events',      'events_due',                '1000 1000 1 1'),
    ('events',      'events_next',               '1000 1000 10'),
    ('events',      'events_contact',            '1000 1000 2 1'),
    ('events',      'events_subject',            '1000000 1000000 3'),
    ('events',      'events_reason',             '1000000 1000000 200000');
ANALYZE sqlite_schema;
