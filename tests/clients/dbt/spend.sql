SELECT campaign_id, count() AS clicks, sum(cost_micros) AS cost_micros FROM penstock.events_clean GROUP BY campaign_id
