-- Intercom contacts of which Intercom was told that they opted out in Brevo: once, whatever they say
-- there later.
CREATE TABLE told_intercom (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (workspace, contact)
) STRICT, WITHOUT ROWID;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('told_intercom', 'told_intercom', '10000 10000 1');
ANALYZE sqlite_schema;
