-- The tables of nfacctd-postgresql.conf. Run with PostgreSQL 15. As user postgres, once:
--   createuser --pwprompt rfm && createdb --owner rfm rfm
--   psql -h 127.0.0.1 -U rfm -d rfm -f postgresql.sql
-- Each day's table is made by nfacctd and inherits from this one: queries go to "flows", and DROP TABLE flows_20260131
-- forgets a day at once. The ten networks most traffic went to in the last hour, in bits per second:
--   SELECT as_dst, 8 * sum(bytes) / 3600 AS bits FROM flows
--   WHERE stamp_inserted >= now() AT TIME ZONE 'UTC' - interval '1 hour' GROUP BY as_dst ORDER BY bits DESC LIMIT 10;
CREATE TABLE flows (
    stamp_inserted timestamp NOT NULL,
    stamp_updated timestamp,
    peer_ip_src inet NOT NULL,
    iface_in bigint NOT NULL,
    iface_out bigint NOT NULL,
    as_src bigint NOT NULL,
    as_dst bigint NOT NULL,
    ip_src inet NOT NULL,
    ip_dst inet NOT NULL,
    port_src int NOT NULL,
    port_dst int NOT NULL,
    ip_proto smallint NOT NULL,
    tos int NOT NULL,
    packets bigint NOT NULL,
    bytes bigint NOT NULL
);
COMMENT ON COLUMN flows.peer_ip_src IS 'the router';
COMMENT ON COLUMN flows.bytes IS 'of IP: without Ethernet headers';
