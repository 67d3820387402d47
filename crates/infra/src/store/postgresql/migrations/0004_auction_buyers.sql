-- Which buyers had a bid in a call's auction: how a buyer finds the receipts of calls it did not win. Calls' ids ascend in time.
CREATE TABLE auction_buyers (
    buyer  uuid NOT NULL,
    call   uuid NOT NULL,
    PRIMARY KEY (buyer, call)
) PARTITION BY RANGE (call);
CREATE TABLE auction_buyers_default PARTITION OF auction_buyers DEFAULT;

-- The tables that have a partition for every month, and the column that says which. A table with one row more needs no other change:
-- those by a call's id leave with the month's calls, those by time are numbered.
CREATE OR REPLACE VIEW monthly (parent, key, by_id) AS VALUES
    ('calls', 'id', true), ('receipts', 'call', true), ('auction_buyers', 'call', true), ('transfers', 'call', true),
    ('journal', 'at', false), ('outbox', 'at', false), ('audit_entries', 'at', false);

-- As before, for any table of the view.
CREATE OR REPLACE FUNCTION detach_partitions(before date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    parent text; part text; by_call boolean; month date; open_calls bigint; seq_max bigint; row_count bigint; done integer := 0;
BEGIN
    -- The writer waits meanwhile: balances and openings change together.
    PERFORM 1 FROM writer FOR UPDATE;
    FOR parent, part, by_call IN
        SELECT m.parent, c.relname, m.by_id FROM monthly m
        JOIN pg_inherits i ON i.inhparent = m.parent::regclass
        JOIN pg_class c ON c.oid = i.inhrelid
        -- The calls first: once they are detached the rest of the month follows.
        WHERE c.relname ~ '_\d{4}_\d{2}$' ORDER BY right(c.relname, 7), m.parent <> 'calls', m.parent
    LOOP
        month := to_date(right(part, 7), 'YYYY_MM');
        CONTINUE WHEN month + interval '1 month' > before;
        IF by_call AND to_regclass('calls' || to_char(month, '_YYYY_MM')) IS NOT NULL THEN
            EXECUTE format('SELECT count(*) FROM %I WHERE outcome IS NULL', 'calls' || to_char(month, '_YYYY_MM')) INTO open_calls;
            CONTINUE WHEN open_calls > 0;
        END IF;
        IF parent = 'transfers' THEN
            EXECUTE format('UPDATE ledger_accounts l SET opening_micros = l.opening_micros + t.change FROM (
                SELECT ledger, sum(change) AS change FROM (
                    SELECT from_ledger AS ledger, -amount_micros AS change FROM %1$I
                    UNION ALL SELECT to_ledger, amount_micros FROM %1$I) moved GROUP BY ledger) t
                WHERE l.id = t.ledger', part);
        END IF;
        IF parent = 'transfers' OR NOT by_call THEN
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
