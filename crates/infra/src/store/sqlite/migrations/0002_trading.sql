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

-- Daily figures alone cannot say what was taken this hour, week or month: counting begins anew.
DROP TABLE daily_usage;

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
