-- What comes in is written to as few indexes as will do.

-- The journal is pruned in the order of its numbers, which is that of its age.
DROP INDEX journal_age;

-- Nearly everything is live, so what is gone is counted.
DROP INDEX records_liveness;
CREATE INDEX records_gone ON records (workspace, kind) WHERE liveness <> 'live';

-- Few contacts share an address, so the rest of the question is asked of the rows.
DROP INDEX records_email;
CREATE INDEX records_email ON records (workspace, email) WHERE email IS NOT NULL;

-- How selective the columns of each index are. Without this SQLite takes the workspace, which is the
-- same in every row, for a good one to search by, and walks whole tables. One number for the rows,
-- then how many of them share the first column, the first two, and so on.
ANALYZE sqlite_schema;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('meta',         'meta',                           '100 100 1'),
    ('journal',      'sqlite_autoindex_journal_1',     '1000000 1000000 1'),
    ('records',      'sqlite_autoindex_records_1',     '1000000 1000000 100000 1'),
    ('records',      'records_email',                  '1000000 1000000 2'),
    ('records',      'records_gone',                   '10000 10000 9000'),
    ('members',      'members',                        '1000000 1000000 20 1'),
    ('members',      'members_contact',                '1000000 1000000 2'),
    ('work',         'work',                           '100000 100000 90000 1'),
    ('work',         'work_due',                       '100000 100000 90000 50000 100'),
    ('mirror',       'mirror',                         '1000000 1000000 1'),
    ('mirror',       'mirror_owner',                   '1000000 1000000 2'),
    ('mirror',       'mirror_email',                   '1000000 1000000 2'),
    ('mirror',       'mirror_sms',                     '1000000 1000000 2'),
    ('mirror',       'mirror_ext_id',                  '1000000 1000000 2'),
    ('suppression',  'suppression',                    '100000 100000 2 1'),
    ('decisions',    'sqlite_autoindex_decisions_1',   '1000000 1000000 1'),
    ('dead_letters', 'dead_letters_key',               '1000 1000 900 1'),
    ('syncs',        'sqlite_autoindex_syncs_1',       '1000 1000 1'),
    ('intents',      'sqlite_autoindex_intents_1',     '100000 100000 1'),
    ('rule_history', 'rule_history_version',           '1000 1000 10 1'),
    ('rule_texts',   'sqlite_autoindex_rule_texts_1',  '10000 10000 1'),
    ('counters',     'counters',                       '100 100 1');
ANALYZE sqlite_schema;
