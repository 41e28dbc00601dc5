-- Workspaces that were connected, each with its token, sealed with a key that the store does not have.
CREATE TABLE connections (
    workspace    TEXT NOT NULL,
    app_id       TEXT NOT NULL,                -- the workspace in Intercom
    name         TEXT,
    region       TEXT,
    api_version  TEXT,                         -- null: what the configuration says
    way          TEXT NOT NULL,                -- oauth, token
    connected_at INTEGER NOT NULL,
    sealed       BLOB NOT NULL,
    PRIMARY KEY (workspace, app_id)
) STRICT, WITHOUT ROWID;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('connections', 'connections', '2 2 1');
ANALYZE sqlite_schema;
