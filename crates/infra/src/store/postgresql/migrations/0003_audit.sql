-- The audit log: who changed what. Each entry's hash covers its content and the hash before it (docs/audit.md). Entries are never
-- dated before the one before them, so a month of them is a range of numbers.
CREATE TABLE audit_entries (
    seq            bigint NOT NULL,
    at             bigint NOT NULL,
    actor          text NOT NULL,
    api_key        text,
    role           text,
    action         text NOT NULL,
    subject        text COLLATE "C" NOT NULL,
    detail         text NOT NULL,
    previous_hash  bytea NOT NULL CHECK (length(previous_hash) = 32),
    hash           bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (seq, at)
) PARTITION BY RANGE (at);
CREATE TABLE audit_entries_default PARTITION OF audit_entries DEFAULT;
CREATE INDEX audit_entries_by_subject ON audit_entries (subject, seq);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_entries
FOR EACH ROW EXECUTE FUNCTION refuse_change('the audit log');

-- The last entry, as the writer knows it: also when all entries are detached.
CREATE TABLE audit_head (
    only_row  bigint PRIMARY KEY CHECK (only_row = 1),
    seq       bigint NOT NULL,
    at        bigint NOT NULL,
    hash      bytea NOT NULL CHECK (length(hash) = 32)
) WITH (fillfactor = 10);
INSERT INTO audit_head VALUES (1, 0, 0, decode(repeat('00', 32), 'hex'));

-- Signed statements of how far the log, and the ledger, came. There are few, and they are never detached.
CREATE TABLE audit_anchors (
    seq       bigint PRIMARY KEY,
    document  json NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_anchors
FOR EACH ROW EXECUTE FUNCTION refuse_change('an anchor');

CREATE OR REPLACE VIEW monthly (parent, key, by_id) AS VALUES
    ('calls', 'id', true), ('receipts', 'call', true), ('transfers', 'call', true),
    ('journal', 'at', false), ('outbox', 'at', false), ('audit_entries', 'at', false);

-- As before, and keeps the last number of a detached month of the audit log.
CREATE OR REPLACE FUNCTION detach_partitions(before date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    parent text; part text; month date; open_calls bigint; seq_max bigint; row_count bigint; done integer := 0;
BEGIN
    -- The writer waits meanwhile: balances and openings change together.
    PERFORM 1 FROM writer FOR UPDATE;
    FOR parent, part IN
        SELECT m.parent, c.relname FROM monthly m
        JOIN pg_inherits i ON i.inhparent = m.parent::regclass
        JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relname ~ '_\d{4}_\d{2}$' ORDER BY right(c.relname, 7), m.parent
    LOOP
        month := to_date(right(part, 7), 'YYYY_MM');
        CONTINUE WHEN month + interval '1 month' > before;
        IF parent IN ('calls', 'receipts', 'transfers') THEN
            -- Once the month's calls are detached the rest of the month follows.
            IF to_regclass('calls' || to_char(month, '_YYYY_MM')) IS NOT NULL THEN
                EXECUTE format('SELECT count(*) FROM %I WHERE outcome IS NULL', 'calls' || to_char(month, '_YYYY_MM')) INTO open_calls;
                CONTINUE WHEN open_calls > 0;
            END IF;
        END IF;
        IF parent = 'transfers' THEN
            EXECUTE format('UPDATE ledger_accounts l SET opening_micros = l.opening_micros + t.change FROM (
                SELECT ledger, sum(change) AS change FROM (
                    SELECT from_ledger AS ledger, -amount_micros AS change FROM %1$I
                    UNION ALL SELECT to_ledger, amount_micros FROM %1$I) moved GROUP BY ledger) t
                WHERE l.id = t.ledger', part);
        END IF;
        IF parent IN ('journal', 'outbox', 'transfers', 'audit_entries') THEN
            EXECUTE format('SELECT count(*), max(seq) FROM %I', part) INTO row_count, seq_max;
        ELSE
            EXECUTE format('SELECT count(*) FROM %I', part) INTO row_count;
            seq_max := NULL;
        END IF;
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, part);
        INSERT INTO detached (partition, parent, month, row_count, seq_max) VALUES (part, parent, month, row_count, seq_max);
        done := done + 1;
    END LOOP;
    RETURN done;
END $$;
