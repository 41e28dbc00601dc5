-- Every judgement on the rules: what went live, and what was refused. Texts of files are kept once,
-- however many versions have them.
CREATE TABLE rule_history (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace TEXT NOT NULL,
    version   TEXT NOT NULL,
    at        INTEGER NOT NULL,
    live      INTEGER NOT NULL,
    author    TEXT,
    error     TEXT,                            -- the first reason of a refusal
    origin    TEXT,
    base      TEXT,                            -- the version that was live when this one was judged
    changes   TEXT NOT NULL,                   -- what differs from it
    files     TEXT NOT NULL                    -- the digest of each file's text, by path
) STRICT;
CREATE INDEX rule_history_version ON rule_history (workspace, version, id);

CREATE TABLE rule_texts (
    workspace TEXT NOT NULL,
    digest    TEXT NOT NULL,
    text      TEXT NOT NULL,
    PRIMARY KEY (workspace, digest)
) STRICT;
