-- What changed counts and money after they were counted, as the dataflow has applied it, or refused it.
CREATE TABLE IF NOT EXISTS corrections
(
    correction_id String,
    org_id String,
    campaign_id String,
    -- Event time of what is corrected.
    ts DateTime64(3, 'UTC'),
    cause String,
    -- 'moment': every window that ts lies in; 'day': the campaign's day and total.
    grain String,
    creative_id String,
    channel String,
    country String,
    device String,
    event_id String,
    -- Signed changes.
    impressions Int64,
    clicks Int64,
    conversions Int64,
    leads Int64,
    spend_micros Int64,
    revenue_micros Int64,
    noted_by String,
    noted DateTime64(3, 'UTC'),
    note String,
    -- By the clock of the written order.
    applied DateTime64(3, 'UTC'),
    -- 1: a window it falls in was closed.
    late UInt8,
    -- 1: without effect, as it would have brought a total below zero.
    refused UInt8,
    log_partition UInt16,
    log_offset Int64 DEFAULT -1,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(stored_at)
PARTITION BY toYYYYMM(ts)
ORDER BY (org_id, campaign_id, ts, correction_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

ALTER TABLE corrections ADD INDEX IF NOT EXISTS log_place log_offset TYPE minmax GRANULARITY 1;

-- Which log the rows come from, and since when: places of another log say nothing about what was counted twice here.
CREATE TABLE IF NOT EXISTS stored_logs
(
    identity String,
    since DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY since
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE OR REPLACE VIEW corrections_clean AS
SELECT correction_id, org_id, campaign_id, ts, cause, grain, creative_id, channel, country, device, event_id,
    impressions, clicks, conversions, leads,
    spend_micros, toDecimal128(spend_micros, 6) / 1000000 AS spend,
    revenue_micros, toDecimal128(revenue_micros, 6) / 1000000 AS revenue,
    noted_by, noted, note, applied, late, refused
FROM corrections FINAL;

-- Each campaign's day as it was reported, what was corrected, and as it is now. Days without corrections are there, too.
CREATE OR REPLACE VIEW kpi_daily_corrected AS
SELECT k.org_id AS org_id, k.campaign_id AS campaign_id, k.day AS day, k.currency AS currency,
    toInt64(k.impressions) - sum(c.impressions) AS reported_impressions, sum(c.impressions) AS corrected_impressions,
    toInt64(k.impressions) AS impressions,
    toInt64(k.clicks) - sum(c.clicks) AS reported_clicks, sum(c.clicks) AS corrected_clicks,
    toInt64(k.clicks) AS clicks,
    toInt64(k.conversions) - sum(c.conversions) AS reported_conversions, sum(c.conversions) AS corrected_conversions,
    toInt64(k.conversions) AS conversions,
    toInt64(k.leads) - sum(c.leads) AS reported_leads, sum(c.leads) AS corrected_leads, toInt64(k.leads) AS leads,
    k.spend_micros - sum(c.spend_micros) AS reported_spend_micros, sum(c.spend_micros) AS corrected_spend_micros,
    k.spend_micros AS spend_micros,
    k.revenue_micros - sum(c.revenue_micros) AS reported_revenue_micros,
    sum(c.revenue_micros) AS corrected_revenue_micros, k.revenue_micros AS revenue_micros,
    countIf(c.correction_id != '') AS corrections
FROM kpi_daily AS k
LEFT JOIN
(
    SELECT d.org_id AS org_id, d.campaign_id AS campaign_id, d.day_start AS day_start, f.correction_id AS correction_id,
        f.impressions AS impressions, f.clicks AS clicks, f.conversions AS conversions, f.leads AS leads,
        f.spend_micros AS spend_micros, f.revenue_micros AS revenue_micros
    FROM (SELECT * FROM corrections FINAL WHERE refused = 0) AS f
    ASOF JOIN (SELECT org_id, campaign_id, day_start FROM kpi_daily) AS d
        ON d.org_id = f.org_id AND d.campaign_id = f.campaign_id AND f.ts >= d.day_start
) AS c ON c.org_id = k.org_id AND c.campaign_id = k.campaign_id AND c.day_start = k.day_start
GROUP BY k.org_id, k.campaign_id, k.day, k.currency, k.day_start, k.impressions, k.clicks, k.conversions, k.leads,
    k.spend_micros, k.revenue_micros;
