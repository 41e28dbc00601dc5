-- Custom objects that rules asked for. What Brevo took last is known by its digest.
CREATE TABLE objects (
    seq       INTEGER PRIMARY KEY,
    workspace TEXT NOT NULL,
    kind      TEXT NOT NULL,
    id        TEXT NOT NULL,
    contact   TEXT NOT NULL,                   -- the Intercom contact that it belongs to
    fields    TEXT NOT NULL,                   -- empty once Brevo has it
    sent      BLOB,                            -- the digest of what Brevo took last
    state     TEXT NOT NULL,                   -- due, sent, dead
    version   INTEGER NOT NULL DEFAULT 0,      -- counts changes: an end speaks only of what was sent
    origin    TEXT,
    rule_set  TEXT,
    due       INTEGER,
    attempts  INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    UNIQUE (workspace, kind, id)
) STRICT;
CREATE INDEX objects_due ON objects (workspace, due) WHERE state = 'due';
CREATE INDEX objects_kind ON objects (workspace, kind, seq) WHERE state = 'due';

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('objects', 'sqlite_autoindex_objects_1', '1000000 1000000 100000 1'),
    ('objects', 'objects_due',                '1000 1000 10'),
    ('objects', 'objects_kind',               '1000 1000 500 1');
ANALYZE sqlite_schema;
