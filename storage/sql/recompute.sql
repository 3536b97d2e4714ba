-- Windows of one campaign, level and kind, counted from raw events. $bound is the (start, end) of an event's window, in
-- ms; $wanted says whether that window is one of those asked for, which lie in [$low, $high). Rows are told apart by
-- $dimensions. A row keeps the place in topic kpis of the one it replaces, which says that the dataflow cut its window.
SELECT counted.*, if(known.version = 0, -1, known.log_offset) AS log_offset
FROM
(
    SELECT org_id, campaign_id, '$level' AS level, '$window' AS window,
        fromUnixTimestamp64Milli(bound.1, 'UTC') AS window_start,
        fromUnixTimestamp64Milli(bound.2, 'UTC') AS window_end,
        $dimensions,
        countIf(type = 'impression') AS impressions, countIf(type = 'click') AS clicks,
        countIf(type = 'conversion') AS conversions, countIf(type = 'lead') AS leads,
        sum(cost_micros) AS spend_micros, sum(revenue_micros) AS revenue_micros,
        -- Nobody was reached without an impression, as in the dataflow.
        least(impressions, uniqExactIf(multiIf(user_id != '', ('u', user_id, ''), device_id != '', ('d', device_id, ''),
            ('a', ip, user_agent)), user_id != '' OR device_id != '' OR ip != '' OR user_agent != '')) AS reach,
        count() AS version, toDateTime(min(stored_at)) AS stored_at
    FROM
    (
        SELECT *, $bound AS bound
        FROM events FINAL
        WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String}
            AND ts >= fromUnixTimestamp64Milli($low, 'UTC')
            AND ts < fromUnixTimestamp64Milli($high, 'UTC')
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
