-- Everything is keyed by workspace. Times are seconds since 1970 unless a name says otherwise.

-- Facts about this store: the check value of the address key, the cursor of the read-back, …
CREATE TABLE meta (
    workspace TEXT NOT NULL,
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    PRIMARY KEY (workspace, name)
) STRICT, WITHOUT ROWID;

-- Accepted notifications as they came in, for dedupe and replay. Nothing consumes it by position.
CREATE TABLE journal (
    id         INTEGER PRIMARY KEY,
    workspace  TEXT NOT NULL,
    dedupe_key TEXT NOT NULL,
    topic      TEXT NOT NULL,
    received   INTEGER NOT NULL,
    body       BLOB NOT NULL,
    UNIQUE (workspace, dedupe_key)
) STRICT;
CREATE INDEX journal_age ON journal (workspace, received);

-- The newest snapshot of each Intercom object.
CREATE TABLE records (
    workspace  TEXT NOT NULL,
    kind       TEXT NOT NULL,
    id         TEXT NOT NULL,
    at         INTEGER NOT NULL,
    digest     BLOB NOT NULL,
    read_began INTEGER,               -- null: it came by notification
    liveness   TEXT NOT NULL,
    email      TEXT,                  -- of contacts, in lower case
    body       TEXT NOT NULL,
    sublists   TEXT,                  -- ids beyond the ten that a snapshot shows
    sublists_of BLOB,                 -- the digest that `sublists` belongs to
    UNIQUE (workspace, kind, id)
) STRICT;
CREATE INDEX records_email ON records (workspace, email, kind, liveness, id) WHERE email IS NOT NULL;
CREATE INDEX records_liveness ON records (workspace, kind, liveness);

-- Which contacts derive from a company.
CREATE TABLE members (
    workspace TEXT NOT NULL,
    company   TEXT NOT NULL,
    contact   TEXT NOT NULL,
    PRIMARY KEY (workspace, company, contact)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_contact ON members (workspace, contact);

-- Keys to derive again. A row goes when its result is durable.
CREATE TABLE work (
    workspace TEXT NOT NULL,
    task      TEXT NOT NULL,
    id        TEXT NOT NULL,
    lane      INTEGER NOT NULL,
    seq       INTEGER NOT NULL DEFAULT 1,      -- counts how often it became dirty
    carried   INTEGER NOT NULL,                -- accepted inputs whose outcome this decides
    in_claim  INTEGER NOT NULL DEFAULT 0,      -- those of them that a claim holds
    since     INTEGER NOT NULL,
    due       INTEGER NOT NULL,
    claimed   INTEGER NOT NULL DEFAULT 0,
    token     INTEGER NOT NULL DEFAULT 0,      -- counts the claims: only the last one can end
    stirred   INTEGER NOT NULL DEFAULT 0,      -- Brevo's side was seen to change while it was claimed
    attempts  INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    needs_read INTEGER NOT NULL DEFAULT 0,     -- only a read can order two snapshots of one second
    suspect   INTEGER NOT NULL DEFAULT 0,      -- 1: it was claimed when the process died; 2: it was evaluated alone then; -1: its rules were run
    cursor    TEXT,                            -- how far a fan-out has come
    PRIMARY KEY (workspace, task, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX work_due ON work (workspace, claimed, lane, due);

-- What Brevo is known to hold. Of a contact without a match in Intercom only hashes and flags.
CREATE TABLE mirror (
    workspace   TEXT NOT NULL,
    id          INTEGER NOT NULL,
    email_hash  BLOB,
    ext_id_hash BLOB,
    sms_hash    BLOB,
    owner       TEXT,
    email_blacklisted INTEGER NOT NULL,
    sms_blacklisted   INTEGER NOT NULL,
    state       TEXT,                          -- null: only hashes and flags are kept
    applied     TEXT,
    read_at     INTEGER NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX mirror_owner ON mirror (workspace, owner) WHERE owner IS NOT NULL;
CREATE INDEX mirror_email ON mirror (workspace, email_hash) WHERE email_hash IS NOT NULL;
CREATE INDEX mirror_sms ON mirror (workspace, sms_hash) WHERE sms_hash IS NOT NULL;
CREATE INDEX mirror_ext_id ON mirror (workspace, ext_id_hash) WHERE ext_id_hash IS NOT NULL;

-- Who opted out of what, by keyed hash: it outlives every deletion.
CREATE TABLE suppression (
    workspace TEXT NOT NULL,
    address   BLOB NOT NULL,
    channel   TEXT NOT NULL,
    at        INTEGER NOT NULL,
    source    TEXT NOT NULL,
    PRIMARY KEY (workspace, address, channel)
) STRICT, WITHOUT ROWID;

-- The newest decision of each contact.
CREATE TABLE decisions (
    workspace TEXT NOT NULL,
    id        TEXT NOT NULL,
    rule_set  TEXT NOT NULL,
    as_of     INTEGER NOT NULL,
    decision  TEXT NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT;

-- What will not be retried by itself.
CREATE TABLE dead_letters (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace TEXT NOT NULL,
    task      TEXT,                            -- null: a notification that cannot be used
    key       TEXT,
    journal   INTEGER,
    kind      TEXT NOT NULL,
    message   TEXT NOT NULL,
    origin    TEXT,
    response  TEXT,
    rule_set  TEXT,
    carried   INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    at        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX dead_letters_key ON dead_letters (workspace, task, key) WHERE task IS NOT NULL;

CREATE TABLE syncs (
    id        TEXT NOT NULL,
    workspace TEXT NOT NULL,
    seq       INTEGER PRIMARY KEY,
    state     TEXT NOT NULL,
    body      TEXT NOT NULL,
    UNIQUE (workspace, id)
) STRICT;

-- An import from before its call until its end: one of unknown fate is read back first.
CREATE TABLE imports (
    id        INTEGER PRIMARY KEY,
    workspace TEXT NOT NULL,
    process   INTEGER,
    started   INTEGER NOT NULL,
    rows      INTEGER NOT NULL
) STRICT;

-- What is about to be written for a contact, from before the calls until their end is known: what of
-- it Brevo took is the engine's to take back, even if the process died in between.
CREATE TABLE intents (
    workspace TEXT NOT NULL,
    owner     TEXT NOT NULL,
    change    TEXT NOT NULL,
    PRIMARY KEY (workspace, owner)
) STRICT;

CREATE TABLE rule_sets (
    workspace TEXT NOT NULL,
    version   TEXT NOT NULL,
    at        INTEGER NOT NULL,
    live      INTEGER NOT NULL,
    files     TEXT NOT NULL,
    error     TEXT,
    PRIMARY KEY (workspace, version, at)
) STRICT;

CREATE TABLE counters (
    workspace TEXT NOT NULL,
    name      TEXT NOT NULL,
    value     INTEGER NOT NULL,
    PRIMARY KEY (workspace, name)
) STRICT, WITHOUT ROWID;
