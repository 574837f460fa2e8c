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

/* For one more record of this CPU. */
static __always_inline __u64 rfm_wakeup_flags(struct rfm_cpu *cpu)
{
	if (++cpu->unwoken < rfm_config.wakeup_batch)
		return BPF_RB_NO_WAKEUP;
	cpu->unwoken = 0;
	return BPF_RB_FORCE_WAKEUP;
}

/* A record with everything but its time, for the first packet of a flow. */
static __always_inline void rfm_fill(struct rfm_flow_record *rec, struct __sk_buff *skb, __u32 slot,
				     __u32 direction, const struct rfm_key *key,
				     const struct rfm_transport *tr, const struct rfm_wire *wire,
				     __u32 rate)
{
	struct rfm_cursor cur = {.ctx = skb, .load = rfm_load_skb};
	struct {
		__u16 dst[3];
		__u16 src[3];
	} mac = {};

	if (!(slot & RFM_SLOT_L3))
		rfm_load(&cur, 0, &mac);
	rfm_key_copy(&rec->key, key);
	rec->packets = wire->packets;
	rec->bytes = wire->bytes;
	rec->octets = wire->octets;
	rec->sample_rate = rate;
	rec->ingress_ifindex = direction == RFM_EGRESS ? skb->ingress_ifindex : 0;
	__builtin_memcpy(rec->dst_mac, mac.dst, sizeof(rec->dst_mac));
	__builtin_memcpy(rec->src_mac, mac.src, sizeof(rec->src_mac));
	rec->tcp_flags = tr->tcp_flags;
	rec->tos = tr->tos;
	rec->pad[0] = rec->pad[1] = 0;
}

#endif
