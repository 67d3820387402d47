-- Trading rules, deals, cap groups, usage by period, track records; bid profiles and calls in their wider shape.

CREATE TABLE cap_groups (
    id        BLOB PRIMARY KEY CHECK (length(id) = 16),
    buyer     BLOB NOT NULL,
    document  TEXT NOT NULL
) STRICT;

-- scope: `vertical:roofing`, `seller:<account id>`, `number:<number>`.
CREATE TABLE trading_rules (
    scope     TEXT PRIMARY KEY,
    document  TEXT NOT NULL
) STRICT;

CREATE TABLE deals (
    id        BLOB PRIMARY KEY CHECK (length(id) = 16),
    seller    BLOB NOT NULL,
    document  TEXT NOT NULL
) STRICT;

-- What a bid (`bid`) or a cap group (`group`) has taken, and what came of its calls.
CREATE TABLE usage (
    kind      TEXT NOT NULL CHECK (kind IN ('bid', 'group')),
    id        BLOB NOT NULL CHECK (length(id) = 16),
    document  TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE seller_records (
    seller    BLOB PRIMARY KEY CHECK (length(seller) = 16),
    document  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What was taken on the bid's latest day stays taken, so that no daily cap is passed. Of the hour, the week and the month nothing is
-- known; the total begins with that day, and with the open calls of the days before, which will be taken off it again.
INSERT INTO usage
SELECT 'bid', bid, json_object(
    'owner', json_object('bid', text_id),
    'taken', json_array(
        json(untouched),
        json_object('number', day, 'calls', calls, 'conversions', calls, 'spend_micros', spend_micros),
        json(untouched),
        json(untouched),
        json_object('number', 0, 'calls', calls + open_calls, 'conversions', calls + open_calls,
                    'spend_micros', spend_micros + open_micros)
    )
)
FROM (
    SELECT taken.*, '{"number":0,"calls":0,"conversions":0,"spend_micros":0}' AS untouched,
        count(call.id) AS open_calls,
        coalesce(sum(json_extract(call.document, '$.state.attempt.hold_micros')), 0) AS open_micros
    FROM (
        SELECT *, lower(substr(hex(bid), 1, 8) || '-' || substr(hex(bid), 9, 4) || '-' || substr(hex(bid), 13, 4)
            || '-' || substr(hex(bid), 17, 4) || '-' || substr(hex(bid), 21)) AS text_id
        FROM daily_usage
    ) AS taken
    LEFT JOIN calls AS call ON call.outcome IS NULL
        AND json_extract(call.document, '$.state.attempt.bid') = taken.text_id
        AND json_extract(call.document, '$.state.attempt.cap_day') <> taken.day
    GROUP BY taken.bid
);
DROP TABLE daily_usage;

-- The day an attempt counts against is one of several periods; no hour, week or month is -1.
UPDATE calls SET document = json_set(
    json_remove(document, '$.state.attempt.cap_day'),
    '$.state.attempt.counted', json_object('bid', json_object(
        'hour', -1, 'day', json_extract(document, '$.state.attempt.cap_day'), 'week', -1, 'month', -1))
) WHERE json_extract(document, '$.state.attempt.cap_day') IS NOT NULL;
UPDATE calls SET document = json_set(
    json_remove(document, '$.state.outcome.attempt.cap_day'),
    '$.state.outcome.attempt.counted', json_object('bid', json_object(
        'hour', -1, 'day', json_extract(document, '$.state.outcome.attempt.cap_day'), 'week', -1, 'month', -1))
) WHERE json_extract(document, '$.state.outcome.attempt.cap_day') IS NOT NULL;

-- What the seller says of the consumer stands together.
UPDATE calls SET document = json_set(
    json_remove(document, '$.stated_state'),
    '$.stated', json_object('state', json_extract(document, '$.stated_state'))
) WHERE json_extract(document, '$.stated_state') IS NOT NULL;

-- Calls that were connected, for duplicate rules.
ALTER TABLE calls ADD COLUMN ended_at INTEGER;
UPDATE calls SET ended_at = json_extract(document, '$.state.ended_at');
CREATE INDEX calls_by_end ON calls (ended_at) WHERE outcome IN ('converted', 'not_converted');

-- The vertical stands on the bid itself, tags are rules, daily caps are limits.
UPDATE bid_profiles SET document = json_set(
    json_remove(document, '$.criteria.vertical', '$.caps.daily_calls', '$.caps.daily_spend_micros'),
    '$.vertical', json_extract(document, '$.criteria.vertical'),
    '$.criteria.tags', (
        SELECT json_group_array(json_object('name', tag.key, 'is', json_object('equals', tag.value)))
        FROM json_each(document, '$.criteria.tags') AS tag
    ),
    '$.caps.limits', (
        SELECT json_group_array(json(cap.value)) FROM json_each(json_array(
            CASE WHEN json_extract(document, '$.caps.daily_calls') IS NOT NULL THEN
                json_object('per', 'day', 'calls', json_extract(document, '$.caps.daily_calls')) END,
            CASE WHEN json_extract(document, '$.caps.daily_spend_micros') IS NOT NULL THEN
                json_object('per', 'day', 'spend_micros', json_extract(document, '$.caps.daily_spend_micros')) END
        )) AS cap WHERE cap.value IS NOT NULL
    )
);

-- Calls that are open when this runs are closed by recovery: their fall-backs are not needed any more.
UPDATE calls SET document = json_set(document, '$.state.fallbacks', json('[]'))
WHERE state = 'ringing';
