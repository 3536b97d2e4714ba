-- Decisions in the order of their causes, and where in the log each row comes from.

-- 0: decided before there were sequences.
ALTER TABLE decisions ADD COLUMN IF NOT EXISTS sequence UInt64 DEFAULT 0;

-- The offset of the record that a row was made from, so that the store can ask whether what it wrote is there; -1: not
-- from the log (a window counted again), or written before there was this column.
ALTER TABLE kpi_windows ADD COLUMN IF NOT EXISTS log_offset Int64 DEFAULT -1;
ALTER TABLE decisions ADD COLUMN IF NOT EXISTS log_offset Int64 DEFAULT -1;
ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS log_offset Int64 DEFAULT -1;
ALTER TABLE campaigns ADD COLUMN IF NOT EXISTS log_offset Int64 DEFAULT -1;

-- Rows of some offsets lie in few granules.
ALTER TABLE events ADD INDEX IF NOT EXISTS log_place log_offset TYPE minmax GRANULARITY 1;
ALTER TABLE kpi_windows ADD INDEX IF NOT EXISTS log_place log_offset TYPE minmax GRANULARITY 1;
ALTER TABLE decisions ADD INDEX IF NOT EXISTS log_place log_offset TYPE minmax GRANULARITY 1;
ALTER TABLE dead_letters ADD INDEX IF NOT EXISTS log_place log_offset TYPE minmax GRANULARITY 1;

CREATE OR REPLACE VIEW decisions_clean AS
SELECT * EXCEPT (stored_at, log_offset) FROM decisions FINAL;

CREATE OR REPLACE VIEW dead_letters_clean AS
SELECT * EXCEPT (stored_at, log_offset) FROM dead_letters FINAL;

-- What the decisions in force say of each campaign. The newest word is that of the highest sequence: event times lie
-- beside the clock, so by time a pause may stand before the resume that it followed.
CREATE OR REPLACE VIEW campaign_state AS
SELECT org_id, campaign_id,
    if(argMaxIf(kind, place, kind IN ('pause', 'resume')) = 'pause', 'paused', 'active') AS state,
    argMaxIf(reason, place, kind IN ('pause', 'resume')) AS state_reason,
    argMaxIf(toNullable(effective), place, kind IN ('pause', 'resume')) AS state_since,
    argMaxIf(JSONExtract(after, 'bid_micros', 'Nullable(Int64)'), place, kind = 'set_bid') AS bid_micros,
    argMaxIf(JSONExtract(after, 'pacing_rate', 'Nullable(Float64)'), place, kind = 'set_pacing') AS pacing_rate,
    argMax(decision_id, place) AS newest_decision_id, max(sequence) AS newest_sequence
FROM
(
    -- Decisions from before there were sequences stand by the time of their cause, as in `schemas.decisions`.
    SELECT *, (if(sequence > 0, sequence, toUInt64(toUnixTimestamp64Milli(ts)) * 4096), decision_id) AS place
    FROM decisions FINAL
    WHERE mode = 'auto'
)
GROUP BY org_id, campaign_id;
