-- An opt-out from SMS is kept by the number, too: what Brevo was known to hold of it until now.
INSERT INTO suppression (workspace, address, channel, at, source)
    SELECT workspace, sms_hash, 'sms', read_at, 'brevo' FROM mirror
    WHERE sms_blacklisted = 1 AND sms_hash IS NOT NULL
    ON CONFLICT DO NOTHING;
