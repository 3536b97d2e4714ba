{{ config(materialized="incremental", engine="MergeTree()", order_by="event_id", unique_key="event_id") }}
SELECT event_id, ts FROM penstock.events_clean
{% if is_incremental() %}WHERE ts > (SELECT max(ts) FROM {{ this }}){% endif %}
