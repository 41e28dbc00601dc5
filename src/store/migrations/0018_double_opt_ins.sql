-- Addresses that are asked to confirm, each once. What stays for good is a keyed hash: it outlives the
-- contact, its data, and the rules that asked.
CREATE TABLE double_opt_ins (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace TEXT NOT NULL,
    address   BLOB NOT NULL,
    contact   TEXT NOT NULL,                   -- the Intercom contact for whom it was asked last
    email     TEXT,                            -- the address, while it may have to be asked
    wanted    TEXT,                            -- template, URL and lists, until it is over
    state     TEXT NOT NULL,                   -- due; asking: the call is under way; asked;
                                               -- ceasing: under way, and rules ask no more;
                                               -- needless: it is on these lists, or left them;
                                               -- refused, doubtful: dead letters
    in_doubt  INTEGER NOT NULL DEFAULT 0,      -- 1: an earlier attempt may have sent the e-mail
    lists     TEXT,                            -- needless: the numbers of the lists
    version   INTEGER NOT NULL DEFAULT 0,      -- counts changes: an end speaks only of what was tried
    origin    TEXT,
    rule_set  TEXT,
    due       INTEGER,
    attempts  INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    asked     INTEGER,                         -- when Brevo took it
    UNIQUE (workspace, address)
) STRICT;
CREATE INDEX double_opt_ins_open ON double_opt_ins (workspace, state, due) WHERE due IS NOT NULL;
CREATE INDEX double_opt_ins_contact ON double_opt_ins (workspace, contact) WHERE wanted IS NOT NULL;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('double_opt_ins', 'sqlite_autoindex_double_opt_ins_1', '1000000 1000000 1'),
    ('double_opt_ins', 'double_opt_ins_open',               '1000 1000 500 10'),
    ('double_opt_ins', 'double_opt_ins_contact',            '10000 10000 1');
ANALYZE sqlite_schema;
