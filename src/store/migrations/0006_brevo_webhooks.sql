-- Which of Brevo's contacts are to be read, because a webhook says that something happened to them.
-- The key of the work is a keyed hash, and the address goes with the work.
CREATE TABLE brevo_reads (
    workspace TEXT NOT NULL,
    id        TEXT NOT NULL,
    email     TEXT NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER brevo_reads_end AFTER DELETE ON work WHEN OLD.task = 'brevo_contact' BEGIN
    DELETE FROM brevo_reads WHERE workspace = OLD.workspace AND id = OLD.id;
END;

-- Intercom contacts whose Brevo contact somebody deleted there, with the digest of the snapshot that
-- was derived last: while the record is that one, the contact is not made again.
CREATE TABLE lost (
    workspace TEXT NOT NULL,
    owner     TEXT NOT NULL,
    snapshot  BLOB NOT NULL,
    PRIMARY KEY (workspace, owner)
) STRICT, WITHOUT ROWID;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('brevo_reads', 'brevo_reads', '1000 1000 1'),
    ('lost',        'lost',        '10000 10000 1');
ANALYZE sqlite_schema;
