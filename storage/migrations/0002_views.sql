-- What analysts query. Every rate is NULL where its denominator is zero. Money is there twice: exact integer micros, and
-- units of the campaign's currency as exact decimals.

CREATE OR REPLACE VIEW events_clean AS
SELECT
    event_id, type, ts, org_id, campaign_id, ad_group_id, creative_id, placement_id, publisher_id, keyword, channel,
    platform, user_id, device_id, ip, user_agent, country, region, device, referrer, impression_id, click_id,
    cost_micros, toDecimal128(cost_micros, 6) / 1000000 AS cost,
    revenue_micros, toDecimal128(revenue_micros, 6) / 1000000 AS revenue,
    lead, extra, late,
    -- Who it was, as reach counts people.
    multiIf(user_id != '', concat('u:', user_id), device_id != '', concat('d:', device_id),
            ip != '' OR user_agent != '', concat('a:', ip, ' ', user_agent), '') AS actor,
    log_partition, log_offset
FROM events FINAL;

CREATE OR REPLACE VIEW campaign_names AS
SELECT org_id, campaign_id, name, currency, if(time_zone = '', 'UTC', time_zone) AS time_zone, status,
    daily_budget_micros, weekly_budget_micros, total_budget_micros, start, end, version
FROM campaigns FINAL;

CREATE OR REPLACE VIEW kpi_exact AS
SELECT
    org_id, campaign_id, level, creative_id, channel, country, device, window, window_start, window_end,
    impressions, clicks, conversions, leads, spend_micros, revenue_micros, reach,
    toDecimal128(spend_micros, 6) / 1000000 AS spend,
    toDecimal128(revenue_micros, 6) / 1000000 AS revenue,
    clicks / nullIf(impressions, 0) AS ctr,
    conversions / nullIf(clicks, 0) AS cvr,
    spend_micros / 1000 / nullIf(impressions, 0) AS cpm,
    spend_micros / 1000000 / nullIf(clicks, 0) AS cpc,
    spend_micros / 1000000 / nullIf(conversions, 0) AS cpa,
    revenue_micros / nullIf(spend_micros, 0) AS roas,
    impressions / nullIf(reach, 0) AS frequency
FROM kpi_windows FINAL;

CREATE OR REPLACE VIEW kpi_minutely AS
SELECT org_id, campaign_id, window_start AS minute, * EXCEPT (org_id, campaign_id, level, creative_id, channel, country,
    device, window, window_start, window_end)
FROM kpi_exact WHERE level = 'campaign' AND window = '1m';

CREATE OR REPLACE VIEW kpi_hourly AS
SELECT org_id, campaign_id, window_start AS hour, * EXCEPT (org_id, campaign_id, level, creative_id, channel, country,
    device, window, window_start, window_end)
FROM kpi_exact WHERE level = 'campaign' AND window = '1h';

CREATE OR REPLACE VIEW kpi_minutely_by_series AS
SELECT org_id, campaign_id, creative_id, channel, country, device, window_start AS minute, * EXCEPT (org_id, campaign_id,
    level, creative_id, channel, country, device, window, window_start, window_end)
FROM kpi_exact WHERE level = 'series' AND window = '1m';

CREATE OR REPLACE VIEW kpi_hourly_by_series AS
SELECT org_id, campaign_id, creative_id, channel, country, device, window_start AS hour, * EXCEPT (org_id, campaign_id,
    level, creative_id, channel, country, device, window, window_start, window_end)
FROM kpi_exact WHERE level = 'series' AND window = '1h';

-- `day` is the date in the campaign's time zone: that of the middle of the window, which no clock change moves.
CREATE OR REPLACE VIEW kpi_daily AS
SELECT k.org_id AS org_id, k.campaign_id AS campaign_id, c.name AS name, c.currency AS currency,
    if(c.time_zone = '', 'UTC', c.time_zone) AS time_zone,
    toDate(toString(k.window_start + toIntervalHour(12), if(c.time_zone = '', 'UTC', c.time_zone))) AS day,
    k.window_start AS day_start, k.window_end AS day_end,
    k.impressions AS impressions, k.clicks AS clicks, k.conversions AS conversions, k.leads AS leads,
    k.spend_micros AS spend_micros, k.spend AS spend, k.revenue_micros AS revenue_micros, k.revenue AS revenue,
    k.reach AS reach, k.ctr AS ctr, k.cvr AS cvr, k.cpm AS cpm, k.cpc AS cpc, k.cpa AS cpa, k.roas AS roas,
    k.frequency AS frequency
FROM kpi_exact AS k
LEFT JOIN campaign_names AS c ON c.org_id = k.org_id AND c.campaign_id = k.campaign_id
WHERE k.level = 'campaign' AND k.window = 'day';

CREATE OR REPLACE VIEW kpi_daily_by_series AS
SELECT k.org_id AS org_id, k.campaign_id AS campaign_id, k.creative_id AS creative_id, k.channel AS channel,
    k.country AS country, k.device AS device, c.currency AS currency,
    toDate(toString(k.window_start + toIntervalHour(12), if(c.time_zone = '', 'UTC', c.time_zone))) AS day,
    k.window_start AS day_start, k.window_end AS day_end,
    k.impressions AS impressions, k.clicks AS clicks, k.conversions AS conversions, k.leads AS leads,
    k.spend_micros AS spend_micros, k.spend AS spend, k.revenue_micros AS revenue_micros, k.revenue AS revenue,
    k.reach AS reach, k.ctr AS ctr, k.cvr AS cvr, k.cpm AS cpm, k.cpc AS cpc, k.cpa AS cpa, k.roas AS roas,
    k.frequency AS frequency
FROM kpi_exact AS k
LEFT JOIN campaign_names AS c ON c.org_id = k.org_id AND c.campaign_id = k.campaign_id
WHERE k.level = 'series' AND k.window = 'day';

-- Each campaign's newest day with events, and its budget: for a replay that is the last replayed day.
CREATE OR REPLACE VIEW campaign_latest_day AS
SELECT d.*, c.status AS status, toDecimal128(c.daily_budget_micros, 6) / 1000000 AS daily_budget,
    d.spend_micros / nullIf(c.daily_budget_micros, 0) AS budget_utilisation
FROM (SELECT * FROM kpi_daily ORDER BY org_id, campaign_id, day_start DESC LIMIT 1 BY org_id, campaign_id) AS d
LEFT JOIN campaign_names AS c ON c.org_id = d.org_id AND c.campaign_id = d.campaign_id;

-- The day that is now in the campaign's time zone; a campaign without events today is not listed.
CREATE OR REPLACE VIEW campaign_today AS
SELECT * FROM campaign_latest_day WHERE day_start <= now64(3) AND now64(3) < day_end;

-- Sums over the last minute, five minutes and hour before each campaign's newest 10 s window. Reach does not add up over
-- windows and is not here.
CREATE OR REPLACE VIEW kpi_rolling AS
SELECT org_id, campaign_id, span, newest AS until, s.1 AS impressions, s.2 AS clicks, s.3 AS conversions, s.4 AS leads,
    s.5 AS spend_micros, toDecimal128(s.5, 6) / 1000000 AS spend,
    s.6 AS revenue_micros, toDecimal128(s.6, 6) / 1000000 AS revenue,
    s.2 / nullIf(s.1, 0) AS ctr, s.3 / nullIf(s.2, 0) AS cvr, s.6 / nullIf(s.5, 0) AS roas
FROM
(
    SELECT org_id, campaign_id, span, newest,
        (sum(impressions), sum(clicks), sum(conversions), sum(leads), sum(spend_micros), sum(revenue_micros)) AS s
    FROM
    (
        SELECT *, max(window_end) OVER (PARTITION BY org_id, campaign_id) AS newest
        FROM (SELECT * FROM kpi_windows FINAL WHERE level = 'campaign' AND window = '10s')
    )
    ARRAY JOIN ['1m', '5m', '1h'] AS span, [60, 300, 3600] AS span_seconds
    WHERE window_start >= newest - toIntervalSecond(span_seconds)
    GROUP BY org_id, campaign_id, span, newest
);

CREATE OR REPLACE VIEW decisions_clean AS
SELECT * EXCEPT (stored_at) FROM decisions FINAL;

CREATE OR REPLACE VIEW dead_letters_clean AS
SELECT * EXCEPT (stored_at) FROM dead_letters FINAL;
