-- Calls that have ended, and whose buyers may still report their revenue: until when. NULL for all others.
ALTER TABLE calls ADD COLUMN awaits_revenue_until INTEGER;
CREATE INDEX calls_awaiting_revenue ON calls (awaits_revenue_until) WHERE awaits_revenue_until IS NOT NULL;
