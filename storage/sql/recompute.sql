-- Windows of one campaign, level and kind, counted from raw events and corrections. $bound is the (start, end) of an
-- event's window, in ms; $wanted says whether that window is one of those asked for, which lie in [$low, $high). Rows are
-- told apart by $dimensions. A row keeps the place in topic kpis of the one it replaces, which says that the dataflow cut
-- its window.
SELECT counted.*, if(known.version = 0, -1, known.log_offset) AS log_offset
FROM
(
    SELECT org_id, campaign_id, '$level' AS level, '$window' AS window,
        fromUnixTimestamp64Milli(bound.1, 'UTC') AS window_start,
        fromUnixTimestamp64Milli(bound.2, 'UTC') AS window_end,
        $dimensions,
        toUInt64(greatest(sum(shown), 0)) AS impressions, toUInt64(greatest(sum(clicked), 0)) AS clicks,
        toUInt64(greatest(sum(converted), 0)) AS conversions, toUInt64(greatest(sum(leading), 0)) AS leads,
        greatest(sum(cost), 0) AS spend_micros, greatest(sum(revenue), 0) AS revenue_micros,
        -- Nobody was reached without an impression, as in the dataflow.
        least(impressions, uniqExactIf(actor, known_actor)) AS reach,
        sum(weight) AS version, toDateTime(if(max(raw) = 1, minIf(stored_at, raw = 1), min(stored_at))) AS stored_at
    FROM
    (
        SELECT *, $bound AS bound
        FROM
        (
            SELECT org_id, campaign_id, ts, creative_id, channel, country, device, stored_at, 1 AS raw,
                toInt64(type = 'impression') AS shown, toInt64(type = 'click') AS clicked,
                toInt64(type = 'conversion') AS converted, toInt64(type = 'lead') AS leading,
                cost_micros AS cost, revenue_micros AS revenue, toUInt64(1) AS weight,
                multiIf(user_id != '', ('u', user_id, ''), device_id != '', ('d', device_id, ''),
                    ('a', ip, user_agent)) AS actor,
                user_id != '' OR device_id != '' OR ip != '' OR user_agent != '' AS known_actor
            FROM events FINAL
            WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String}
                AND ts >= fromUnixTimestamp64Milli($low, 'UTC')
                AND ts < fromUnixTimestamp64Milli($high, 'UTC')
            UNION ALL
            -- Of an event that came again the table above has one row: nothing is to be taken back. The dataflow has
            -- folded in that event and its correction, which is two.
            SELECT org_id, campaign_id, ts, creative_id, channel, country, device, stored_at, 0,
                if(again, 0, impressions), if(again, 0, clicks), if(again, 0, conversions), if(again, 0, leads),
                if(again, 0, spend_micros), if(again, 0, revenue_micros), toUInt64(if(again, 2, 1)),
                ('', '', ''), 0
            FROM (SELECT *, cause = 'late_duplicate' AS again FROM corrections FINAL)
            WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String}
                AND ts >= fromUnixTimestamp64Milli($low, 'UTC')
                AND ts < fromUnixTimestamp64Milli($high, 'UTC')
                AND refused = 0 AND grain IN ($grains)
        )
    )
    WHERE $wanted
    GROUP BY org_id, campaign_id, bound, creative_id, channel, country, device
) AS counted
LEFT JOIN
(
    SELECT window_start, creative_id, channel, country, device, version, stored_at, log_offset
    FROM kpi_windows FINAL
    WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String} AND level = '$level' AND window = '$window'
        AND window_start >= fromUnixTimestamp64Milli($low, 'UTC')
        AND window_start < fromUnixTimestamp64Milli($high, 'UTC')
) AS known USING (window_start, creative_id, channel, country, device)
WHERE known.version = 0
    OR (counted.version > known.version AND known.stored_at > now() - toIntervalDay({safe_days:Int64}))
