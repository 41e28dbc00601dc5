-- What made a key dirty, where that is counted as a whole: the number of a hold.
ALTER TABLE work ADD COLUMN cause INTEGER;
CREATE INDEX work_cause ON work (workspace, cause) WHERE cause IS NOT NULL;

-- What takes something away from people: new rules, a sweep, other work of ten minutes. All that the
-- first two take away waits until the last key that they made dirty is derived.
CREATE TABLE holds (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace TEXT NOT NULL,
    kind      TEXT NOT NULL,                   -- rules, sweep, work
    reference TEXT NOT NULL,                   -- the rule set's version, the sync's id
    state     TEXT NOT NULL,                   -- counting; held: waits for approval; releasing, released;
                                               -- rejecting, rejected; superseded: newer rules decide anew
    fed       INTEGER NOT NULL DEFAULT 0,      -- 1: all keys that it makes dirty are
    rule_set  TEXT,                            -- under which rules it was rejected
    created   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX holds_cause ON holds (workspace, kind, reference) WHERE kind <> 'work';
CREATE INDEX holds_state ON holds (workspace, state);

-- What waits, may be done, or was rejected, of each contact.
CREATE TABLE held_changes (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,
    hold      INTEGER NOT NULL,
    state     TEXT NOT NULL,                   -- waits, leave, rejected
    takes     TEXT NOT NULL,
    removals  INTEGER NOT NULL,
    clears    INTEGER NOT NULL,
    unsubscribes INTEGER NOT NULL,
    deletions INTEGER NOT NULL,
    rule_set  TEXT,                            -- of a rejection: the rules that it lasts for
    carried   INTEGER NOT NULL DEFAULT 0,      -- accepted inputs whose outcome this decides
    PRIMARY KEY (workspace, contact, hold, state)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_changes_hold ON held_changes (workspace, hold, state, contact, carried);

-- From whom other work took something away, and when: what is older than ten minutes goes.
CREATE TABLE recent_removals (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (workspace, contact)
) STRICT, WITHOUT ROWID;
CREATE INDEX recent_removals_at ON recent_removals (workspace, at);

-- How selective the indexes are, as for the tables before.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('work',            'work_cause',         '50000 50000 10000'),
    ('holds',           'holds_cause',        '1000 1000 500 1'),
    ('holds',           'holds_state',        '1000 1000 100'),
    ('held_changes',    'held_changes',       '100000 100000 2 1 1'),
    ('held_changes',    'held_changes_hold',  '100000 100000 10000 10000 1 1'),
    ('recent_removals', 'recent_removals',    '1000 1000 1'),
    ('recent_removals', 'recent_removals_at', '1000 1000 10');
ANALYZE sqlite_schema;
