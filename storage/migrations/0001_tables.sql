-- Every table replaces rows by key: a row written twice counts once. The views read with FINAL, so that this holds
-- before the engine has merged, too. Rows expire by the time they were stored and not by event time: a replay of an old
-- day stays for as long as the events of today do. An insert is on disk before it is acknowledged.

CREATE TABLE IF NOT EXISTS events
(
    event_id String,
    type Enum8('impression' = 1, 'click' = 2, 'conversion' = 3, 'lead' = 4),
    ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    org_id LowCardinality(String),
    campaign_id LowCardinality(String),
    ad_group_id LowCardinality(String),
    creative_id LowCardinality(String),
    placement_id LowCardinality(String),
    publisher_id LowCardinality(String),
    keyword LowCardinality(String),
    channel LowCardinality(String),
    platform LowCardinality(String),
    user_id String,
    device_id String,
    ip String,
    user_agent String,
    country LowCardinality(String),
    region LowCardinality(String),
    device LowCardinality(String),
    referrer String,
    impression_id String,
    click_id String,
    cost_micros Int64,
    revenue_micros Int64,
    lead String,
    extra String,
    -- 1: it came after its 10 s window had closed.
    late UInt8,
    -- Where in the log it stands.
    log_partition UInt16,
    log_offset Int64 CODEC(Delta, ZSTD(1)),
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(stored_at)
PARTITION BY toYYYYMM(ts)
ORDER BY (org_id, campaign_id, ts, event_id)
TTL toDateTime(stored_at) + toIntervalDay(90)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS kpi_windows
(
    org_id LowCardinality(String),
    campaign_id LowCardinality(String),
    level LowCardinality(String),
    creative_id LowCardinality(String),
    channel LowCardinality(String),
    country LowCardinality(String),
    device LowCardinality(String),
    window LowCardinality(String),
    window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'),
    impressions UInt64,
    clicks UInt64,
    conversions UInt64,
    leads UInt64,
    spend_micros Int64,
    revenue_micros Int64,
    reach UInt64,
    -- Number of events folded in: of two rows of a key the one with more events is the newer.
    version UInt64,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(window_start)
ORDER BY (org_id, campaign_id, level, window, window_start, creative_id, channel, country, device)
TTL stored_at + toIntervalDay(1826)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS decisions
(
    decision_id String,
    org_id LowCardinality(String),
    campaign_id LowCardinality(String),
    kind LowCardinality(String),
    reason LowCardinality(String),
    ts DateTime64(3, 'UTC'),
    effective DateTime64(3, 'UTC'),
    -- JSON objects.
    before String,
    after String,
    inputs String,
    policy LowCardinality(String),
    mode LowCardinality(String),
    expected String,
    undo String,
    cause_event String,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(stored_at)
PARTITION BY toYYYYMM(ts)
ORDER BY (org_id, campaign_id, ts, decision_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS dead_letters
(
    dead_letter_id String,
    org_id LowCardinality(String),
    ts DateTime64(3, 'UTC'),
    reason LowCardinality(String),
    field LowCardinality(String),
    detail String,
    raw String,
    raw_bytes UInt64,
    source String,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(stored_at)
PARTITION BY toYYYYMM(ts)
ORDER BY (org_id, ts, dead_letter_id)
TTL toDateTime(stored_at) + toIntervalDay(90)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The newest definition of each campaign, from topic control.
CREATE TABLE IF NOT EXISTS campaigns
(
    org_id LowCardinality(String),
    campaign_id String,
    name String,
    currency LowCardinality(String),
    time_zone LowCardinality(String),
    daily_budget_micros Nullable(Int64),
    weekly_budget_micros Nullable(Int64),
    total_budget_micros Nullable(Int64),
    start Nullable(DateTime64(3, 'UTC')),
    end Nullable(DateTime64(3, 'UTC')),
    status LowCardinality(String),
    definition String,
    changed_by String,
    changed DateTime64(3, 'UTC'),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (org_id, campaign_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
