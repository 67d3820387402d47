-- Sessions: short-lived secrets that an API key makes for itself. One is an API key's row with the key it belongs to and its end.
ALTER TABLE api_keys ADD COLUMN of_key BLOB CHECK (length(of_key) = 16);
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER CHECK ((of_key IS NULL) = (expires_at IS NULL));
CREATE INDEX sessions_of_key ON api_keys (of_key, expires_at) WHERE of_key IS NOT NULL;
CREATE INDEX sessions_by_end ON api_keys (expires_at) WHERE expires_at IS NOT NULL;

-- Whoever asks looks first; this holds when two ask at once. 20 is SESSIONS_PER_KEY_MAX.
CREATE TRIGGER sessions_have_a_key BEFORE INSERT ON api_keys WHEN NEW.of_key IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'the API key of the session is revoked, or is a session itself')
    WHERE NOT EXISTS (SELECT 1 FROM api_keys WHERE id = NEW.of_key AND revoked_at IS NULL AND of_key IS NULL);
    SELECT RAISE(ABORT, 'the API key has 20 live sessions already')
    WHERE (SELECT count(*) FROM api_keys
           WHERE of_key = NEW.of_key AND expires_at > NEW.created_at AND revoked_at IS NULL) >= 20;
END;
