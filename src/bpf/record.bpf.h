/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What leaves the kernel: the ring, and the record that goes through it.
 */
#ifndef RFM_RECORD_BPF_H
#define RFM_RECORD_BPF_H

/* Programs write, thread ring reads. The size is set before the load. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} rfm_ring SEC(".maps");

/* Userspace writes, programs read. */
struct rfm_reader rfm_reader SEC(".data.rfm_reader") = {};

/* For one more record of this CPU. */
static __always_inline __u64 rfm_wakeup_flags(struct rfm_cpu *cpu)
{
	if (++cpu->unwoken < rfm_config.wakeup_batch)
		return BPF_RB_NO_WAKEUP;
	cpu->unwoken = 0;
	return rfm_reader.polling ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP;
}

/* A taken packet, and how it is to be counted. */
struct rfm_taken {
	struct __sk_buff *skb;
	struct rfm_key key;
	struct rfm_transport transport;
	union rfm_wire wire;
	__u32 octets;
	__u32 rate;
	__u8 family;
	__u8 direction;
	__u8 has_macs;
};

/* The front of an Ethernet header. */
struct rfm_macs {
	__u16 dst[3];
	__u16 src[3];
};

/* A record with everything but its time, for the first packet of a flow. */
static __always_inline void rfm_fill(struct rfm_flow_record *rec, const struct rfm_taken *packet)
{
	struct __sk_buff *skb = packet->skb;
	struct rfm_macs buffer;
	const struct rfm_macs *mac = 0;

	if (packet->has_macs)
		mac = rfm_header_skb(skb, 0, &buffer, sizeof(buffer));
	if (mac) {
		__builtin_memcpy(rec->dst_mac, mac->dst, sizeof(rec->dst_mac));
		__builtin_memcpy(rec->src_mac, mac->src, sizeof(rec->src_mac));
	} else {
		__builtin_memset(rec->dst_mac, 0, sizeof(rec->dst_mac));
		__builtin_memset(rec->src_mac, 0, sizeof(rec->src_mac));
	}
	rfm_key_copy(&rec->key, &packet->key);
	rec->packets = packet->wire.packets;
	rec->bytes = packet->wire.bytes;
	rec->octets = packet->octets;
	rec->sample_rate = packet->rate;
	rec->ingress_ifindex = packet->direction == RFM_EGRESS ? skb->ingress_ifindex : 0;
	rec->tcp_flags = packet->transport.tcp_flags;
	rec->tos = packet->transport.tos;
	rec->pad[0] = rec->pad[1] = 0;
}

#endif
