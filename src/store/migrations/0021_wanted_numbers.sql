-- Who is to get a phone number that another contact of Brevo's has. Each is derived again once that one
-- gives it up.
CREATE TABLE wanted_numbers (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,                   -- of Intercom
    sms_hash  BLOB NOT NULL,
    PRIMARY KEY (workspace, contact)
) STRICT, WITHOUT ROWID;
CREATE INDEX wanted_numbers_hash ON wanted_numbers (workspace, sms_hash);

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('wanted_numbers', 'wanted_numbers',      '1000 1000 1'),
    ('wanted_numbers', 'wanted_numbers_hash', '1000 1000 1');
ANALYZE sqlite_schema;
