-- Companies in Brevo. It knows no key of ours, so that this is the map from Intercom's id to its own.
CREATE TABLE companies (
    workspace TEXT NOT NULL,
    id        TEXT NOT NULL,                   -- Intercom's
    brevo     TEXT,                            -- Brevo's; null: it has none, as far as is known
    state     TEXT NOT NULL,                   -- what was applied, what is held, what is not taken
    intended  INTEGER,                         -- since when a creation may have reached Brevo
    withheld  INTEGER NOT NULL DEFAULT 0,      -- 1: Brevo took no companies when it was derived
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX companies_withheld ON companies (workspace, id) WHERE withheld = 1;

-- Which contacts should be linked to which companies, and which the engine has linked.
CREATE TABLE company_links (
    workspace TEXT NOT NULL,
    contact   TEXT NOT NULL,
    company   TEXT NOT NULL,
    wanted    INTEGER NOT NULL,
    linked    INTEGER,                         -- Brevo's number of the contact that the engine linked
    due       INTEGER,                         -- null: it is as it should be, or was refused
    PRIMARY KEY (workspace, contact, company)
) STRICT, WITHOUT ROWID;
CREATE INDEX company_links_company ON company_links (workspace, company);
CREATE INDEX company_links_due ON company_links (workspace, company, contact) WHERE due IS NOT NULL;

-- Making a company's contacts dirty is work of its own: the company is derived by itself now.
UPDATE OR REPLACE work SET task = 'members' WHERE task = 'company';

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('companies',     'companies',          '100000 100000 1'),
    ('companies',     'companies_withheld', '1000 1000 1'),
    ('company_links', 'company_links',      '1000000 1000000 2 1'),
    ('company_links', 'company_links_company', '1000000 1000000 10'),
    ('company_links', 'company_links_due',  '1000 1000 10 1');
ANALYZE sqlite_schema;
