-- Columns of few values lie as plain strings. A LowCardinality column keeps one dictionary a part for all organisations,
-- and the engine computes on all of it: an organisation's analyst could test guesses about another's values. The engine
-- rewrites parts in the background; until it has, it makes strings as it reads. Costs: docs/adr/0018.

ALTER TABLE events MODIFY COLUMN org_id String, MODIFY COLUMN campaign_id String, MODIFY COLUMN ad_group_id String,
    MODIFY COLUMN creative_id String, MODIFY COLUMN placement_id String, MODIFY COLUMN publisher_id String,
    MODIFY COLUMN keyword String, MODIFY COLUMN channel String, MODIFY COLUMN platform String,
    MODIFY COLUMN country String, MODIFY COLUMN region String, MODIFY COLUMN device String
    SETTINGS alter_sync = 0;

ALTER TABLE kpi_windows MODIFY COLUMN org_id String, MODIFY COLUMN campaign_id String, MODIFY COLUMN level String,
    MODIFY COLUMN creative_id String, MODIFY COLUMN channel String, MODIFY COLUMN country String,
    MODIFY COLUMN device String, MODIFY COLUMN window String
    SETTINGS alter_sync = 0;

ALTER TABLE decisions MODIFY COLUMN org_id String, MODIFY COLUMN campaign_id String, MODIFY COLUMN kind String,
    MODIFY COLUMN reason String, MODIFY COLUMN policy String, MODIFY COLUMN mode String
    SETTINGS alter_sync = 0;

ALTER TABLE dead_letters MODIFY COLUMN org_id String, MODIFY COLUMN reason String, MODIFY COLUMN field String
    SETTINGS alter_sync = 0;

ALTER TABLE campaigns MODIFY COLUMN org_id String, MODIFY COLUMN currency String, MODIFY COLUMN time_zone String,
    MODIFY COLUMN status String
    SETTINGS alter_sync = 0;
