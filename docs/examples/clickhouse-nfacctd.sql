-- ClickHouse takes from Kafka what nfacctd-kafka.conf puts there. After clickhouse.sql:
--   clickhouse-client --multiquery < clickhouse-nfacctd.sql
-- Run with ClickHouse 26.9 and 18.16; for 18.16 create the topic in Kafka first.
CREATE TABLE IF NOT EXISTS rfm.nfacctd
(
    timestamp_start String,
    timestamp_end String,
    peer_ip_src String,
    iface_in UInt32,
    iface_out UInt32,
    as_src UInt32,
    as_dst UInt32,
    ip_src String,
    ip_dst String,
    port_src UInt16,
    port_dst UInt16,
    ip_proto UInt8,
    tos UInt8,
    packets UInt64,
    bytes UInt64
)
ENGINE = Kafka
SETTINGS kafka_broker_list = '127.0.0.1:9092', kafka_topic_list = 'rfm-flows', kafka_group_name = 'clickhouse',
    kafka_format = 'JSONEachRow';

CREATE MATERIALIZED VIEW IF NOT EXISTS rfm.nfacctd_to_flows TO rfm.flows AS
SELECT
    toDateTime(toUInt32(toFloat64(timestamp_end))) AS time,
    IPv6StringToNum(if(position(peer_ip_src, ':') > 0, peer_ip_src, concat('::ffff:', peer_ip_src))) AS router,
    iface_in AS in_if,
    iface_out AS out_if,
    IPv6StringToNum(if(position(ip_src, ':') > 0, ip_src, concat('::ffff:', ip_src))) AS src,
    IPv6StringToNum(if(position(ip_dst, ':') > 0, ip_dst, concat('::ffff:', ip_dst))) AS dst,
    port_src AS src_port,
    port_dst AS dst_port,
    ip_proto AS proto,
    tos,
    as_src AS src_as,
    as_dst AS dst_as,
    toUInt32(toFloat64(timestamp_end) - toFloat64(timestamp_start)) AS seconds,
    packets,
    bytes
FROM rfm.nfacctd;
