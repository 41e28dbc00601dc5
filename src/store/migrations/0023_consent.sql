-- An opt-out that was lifted stays in the ledger, with the number of what lifted it.
ALTER TABLE suppression ADD COLUMN elsewhere INTEGER;           -- the newest that no contact of Intercom's showed
ALTER TABLE suppression ADD COLUMN is_final INTEGER NOT NULL DEFAULT 0; -- it bounced or complained
ALTER TABLE suppression ADD COLUMN lift INTEGER;                -- null: it holds
-- Why these are here was not kept, so none of them is ever lifted.
UPDATE suppression SET elsewhere = at, is_final = 1;

-- What was seen of Intercom contacts that were unsubscribed once, or of whose opt-in Intercom told, by
-- the keyed hash of the address that they had then.
CREATE TABLE witnesses (
    workspace TEXT NOT NULL,
    address   BLOB NOT NULL,
    contact   TEXT NOT NULL,
    out_at    INTEGER,                         -- the newest version that was unsubscribed
    seen_out  INTEGER,                         -- as of when that was seen last
    in_at     INTEGER,                         -- the first version since that was subscribed
    told_in   INTEGER,                         -- when Intercom told of an opt-in
    PRIMARY KEY (workspace, address, contact)
) STRICT, WITHOUT ROWID;

-- The audit of opt-outs that were lifted. Nothing leaves it.
CREATE TABLE lifts (
    id        INTEGER PRIMARY KEY,
    workspace TEXT NOT NULL,
    address   BLOB NOT NULL,
    contact   TEXT NOT NULL,                   -- whose opt-in it was
    opted_in  INTEGER NOT NULL,
    seen_by   TEXT NOT NULL,                   -- change, notification
    opted_out INTEGER NOT NULL,                -- the newest opt-out that it is newer than
    source    TEXT NOT NULL,                   -- where the first of them came from
    rule_set  TEXT NOT NULL,                   -- who asked for it
    origin    TEXT NOT NULL,                   -- the line that did
    brevo     INTEGER NOT NULL,                -- Brevo's number of the contact
    modified  INTEGER,                         -- when Brevo had changed it last, before it was written
    state     TEXT NOT NULL,                   -- begun, lifted, left (Brevo has to be told that it holds), undone (it was)
    began     INTEGER NOT NULL,
    ended     INTEGER
) STRICT;
CREATE INDEX lifts_open ON lifts (workspace, contact) WHERE state = 'begun' OR state = 'left';
CREATE INDEX lifts_of_address ON lifts (workspace, address, id);

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('witnesses', 'witnesses',        '100000 100000 2 1'),
    ('lifts',     'lifts_open',       '10 10 1'),
    ('lifts',     'lifts_of_address', '10000 10000 2 1');
ANALYZE sqlite_schema;
