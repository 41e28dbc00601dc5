-- Who takes part in which conversation, with what the counts of a contact need of it.
CREATE TABLE participants (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,
    conversation TEXT NOT NULL,
    outline   TEXT NOT NULL,
    PRIMARY KEY (workspace, contact, conversation)
) STRICT, WITHOUT ROWID;
CREATE INDEX participants_conversation ON participants (workspace, conversation);

-- What happened to conversations, each thing once, however often and by whatever it was told.
CREATE TABLE transitions (
    workspace TEXT NOT NULL,
    conversation TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    since     INTEGER NOT NULL,                -- it happened between these two
    until     INTEGER NOT NULL,
    part      TEXT,                            -- null: concluded from something else
    by        TEXT,
    value     TEXT,
    PRIMARY KEY (workspace, conversation, seq)
) STRICT, WITHOUT ROWID;

-- What the rules say of a contact where they look at another record: laid over its own decision.
CREATE TABLE overlays (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,
    subject   TEXT NOT NULL,                   -- `conversation:215…`
    at        INTEGER NOT NULL,                -- the version of that record: the newest has the last word
    decision  TEXT NOT NULL,
    PRIMARY KEY (workspace, contact, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX overlays_subject ON overlays (workspace, subject);

-- How selective the indexes are, as for the tables before.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('participants', 'participants',              '1000000 1000000 2 1'),
    ('participants', 'participants_conversation', '1000000 1000000 2'),
    ('transitions',  'transitions',               '1000000 1000000 10 1'),
    ('overlays',     'overlays',                  '100000 100000 2 1'),
    ('overlays',     'overlays_subject',          '100000 100000 2');
ANALYZE sqlite_schema;
