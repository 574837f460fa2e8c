-- Where single flows are kept, whoever brings them: clickhouse-nfacctd.sql or clickhouse-goflow2.sql.
--   clickhouse-client --multiquery < clickhouse.sql
-- Run with ClickHouse 26.9 and 18.16.
-- Addresses are 16 bytes, IPv4 as ::ffff:192.0.2.1, so that one column has both. ALTER TABLE rfm.flows DROP PARTITION
-- '2026-01-31' forgets a day at once. The ten networks most traffic went to in the last hour, in bits per second:
--   SELECT dst_as, 8 * sum(bytes) / 3600 AS bits FROM rfm.flows WHERE time > now() - 3600
--   GROUP BY dst_as ORDER BY bits DESC LIMIT 10
-- and who talked to one host: WHERE dst = IPv6StringToNum('::ffff:192.0.2.1'), IPv6NumToString(src).
CREATE DATABASE IF NOT EXISTS rfm;

CREATE TABLE IF NOT EXISTS rfm.flows
(
    -- when the flow, or this part of it, ended
    time DateTime,
    router FixedString(16),
    in_if UInt32,
    out_if UInt32,
    src FixedString(16),
    dst FixedString(16),
    src_port UInt16,
    dst_port UInt16,
    proto UInt8,
    tos UInt8,
    src_as UInt32,
    dst_as UInt32,
    seconds UInt32,
    packets UInt64,
    bytes UInt64
)
ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (time, dst_as, src_as);
