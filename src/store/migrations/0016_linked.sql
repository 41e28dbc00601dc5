-- What is in Brevo is counted wherever figures are shown.
CREATE INDEX companies_synced ON companies (workspace) WHERE brevo IS NOT NULL;
CREATE INDEX company_links_linked ON company_links (workspace) WHERE linked IS NOT NULL;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('companies',     'companies_synced',     '100000 100000'),
    ('company_links', 'company_links_linked', '1000000 1000000');
ANALYZE sqlite_schema;
