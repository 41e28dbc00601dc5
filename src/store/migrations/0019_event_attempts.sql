-- When the last attempt to send an event ended, or began if its end is not known: Brevo lists events
-- late, and an event whose answer was lost is looked for more than once before it is sent again.
ALTER TABLE events ADD COLUMN tried INTEGER;
