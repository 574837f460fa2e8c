-- ClickHouse takes from Kafka what goflow2.service puts there. After clickhouse.sql:
--   clickhouse-client --multiquery < clickhouse-goflow2.sql
-- Run with ClickHouse 26.9 and 18.16; for 18.16 create the topic in Kafka first.
CREATE TABLE IF NOT EXISTS rfm.goflow2
(
    time_flow_start_ns UInt64,
    time_flow_end_ns UInt64,
    sampling_rate UInt64,
    sampler_address String,
    in_if UInt32,
    out_if UInt32,
    src_as UInt32,
    dst_as UInt32,
    src_addr String,
    dst_addr String,
    src_port UInt16,
    dst_port UInt16,
    proto UInt8,
    ip_tos UInt8,
    packets UInt64,
    bytes UInt64
)
ENGINE = Kafka
SETTINGS kafka_broker_list = '127.0.0.1:9092', kafka_topic_list = 'rfm-goflow2', kafka_group_name = 'clickhouse',
    kafka_format = 'JSONEachRow';

CREATE MATERIALIZED VIEW IF NOT EXISTS rfm.goflow2_to_flows TO rfm.flows AS
SELECT
    toDateTime(toUInt32(intDiv(time_flow_end_ns, 1000000000))) AS time,
    IPv6StringToNum(if(position(sampler_address, ':') > 0, sampler_address, concat('::ffff:', sampler_address))) AS router,
    in_if,
    out_if,
    IPv6StringToNum(if(position(src_addr, ':') > 0, src_addr, concat('::ffff:', src_addr))) AS src,
    IPv6StringToNum(if(position(dst_addr, ':') > 0, dst_addr, concat('::ffff:', dst_addr))) AS dst,
    src_port,
    dst_port,
    proto,
    ip_tos AS tos,
    src_as,
    dst_as,
    toUInt32(intDiv(time_flow_end_ns - time_flow_start_ns, 1000000000)) AS seconds,
    -- goflow2 tells the rate and does not scale
    packets * sampling_rate AS packets,
    bytes * sampling_rate AS bytes
FROM rfm.goflow2;
