{{ config(materialized="view") }}
SELECT * FROM {{ ref("spend") }} WHERE clicks > 333
