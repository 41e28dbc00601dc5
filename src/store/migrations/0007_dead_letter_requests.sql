-- What was sent to Brevo when it refused, with addresses and numbers masked.
ALTER TABLE dead_letters ADD COLUMN request TEXT;
