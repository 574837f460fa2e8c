// SPDX-License-Identifier: GPL-2.0
/*
 * The monitor: one program for each direction, attached by TCX or clsact. They look and count; they
 * always return TCX_NEXT (which clsact reads as TC_ACT_UNSPEC), so that every packet goes on to the
 * next program and to the stack, unchanged.
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "rfm.h"
#include "parse.bpf.h"
#include "count.bpf.h"

/* Programs write, thread ring reads. The size is set before the load. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} rfm_ring SEC(".maps");

/* Records of this CPU since its last wakeup of the reader. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} rfm_unwoken SEC(".maps");

/* Ring records are not in any map's type: this brings them to BTF, and so to Rust. */
const volatile struct rfm_flow_record *const rfm_flow_record_btf = 0;

/* Copies by the widest word that divides the length; memcpy from a packet would go byte by byte. */
static __always_inline void rfm_copy(void *to, const void *from, __u32 len)
{
	if (len % 4 == 0) {
#pragma unroll
		for (__u32 i = 0; i < len / 4; i++)
			((__u32 *)to)[i] = ((const __u32 *)from)[i];
	} else if (len % 2 == 0) {
#pragma unroll
		for (__u32 i = 0; i < len / 2; i++)
			((__u16 *)to)[i] = ((const __u16 *)from)[i];
	} else {
		__builtin_memcpy(to, from, len);
	}
}

/* See rfm_load_fn. */
static __always_inline long rfm_load_skb(void *ctx, __u32 offset, void *to, __u32 len)
{
	struct __sk_buff *skb = ctx;
	void *from = (void *)(long)*(volatile __u32 *)&skb->data + offset;

	if (from + len <= (void *)(long)*(volatile __u32 *)&skb->data_end) {
		rfm_copy(to, from, len);
		return 0;
	}
	return bpf_skb_load_bytes(skb, offset, to, len);
}

/*
 * Everything but plain Ethernet with IPv4 or IPv6. A function of its own: kernels verify a global
 * function once, not once for each path that leads to it and away from it.
 */
__noinline __u64 rfm_find_network(struct __sk_buff *skb, __u32 proto, __u32 offset)
{
	struct rfm_cursor cur = {
		.ctx = skb, .load = rfm_load_skb, .len = skb->len, .offset = offset
	};
	union rfm_network net = {};
	__u32 tags = 0;
	int err;

	if (skb->vlan_present) {
		net.vlan_outer = skb->vlan_tci & VLAN_VID_MASK;
		tags = 1;
	}
	net.family = RFM_OTHER;
	err = rfm_parse_network(&cur, proto, tags, &net);
	if (err)
		net.family = err;
	return net.word;
}

/* A function of its own for the same reason. */
__noinline __u64 rfm_walk_extensions(struct __sk_buff *skb, __u32 protocol, __u32 offset)
{
	struct rfm_cursor cur = {
		.ctx = skb, .load = rfm_load_skb, .len = skb->len, .offset = offset & RFM_MAX_OFFSET
	};
	union rfm_extensions walk = { .protocol = protocol };

	rfm_parse_extensions(&cur, &walk);
	walk.offset = cur.offset;
	return walk.word;
}

static __always_inline __u64 rfm_extensions_skb(void *ctx, __u32 protocol, __u32 offset)
{
	return rfm_walk_extensions(ctx, protocol, offset);
}

/* Plain Ethernet is short and inline; what has tags, labels or sessions pays a call. */
static __always_inline union rfm_network rfm_network_of(struct __sk_buff *skb, __u32 slot)
{
	struct rfm_cursor cur = { .ctx = skb, .load = rfm_load_skb, .len = skb->len };
	union rfm_network net = {};
	__be16 proto;
	int err;

	if (slot & RFM_SLOT_L3) {
		net.word = rfm_find_network(skb, skb->protocol, 0);
		return net;
	}
	if (rfm_load(&cur, ETH_HLEN - 2, &proto)) {
		net.family = RFM_ERROR(RFM_ERR_LINK);
		return net;
	}
	if (skb->vlan_present || (proto != bpf_htons(ETH_P_IP) && proto != bpf_htons(ETH_P_IPV6))) {
		net.word = rfm_find_network(skb, proto, ETH_HLEN);
		return net;
	}
	cur.offset = ETH_HLEN;
	err = rfm_parse_ip(&cur, proto, &net);
	if (err)
		net.family = err;
	return net;
}

static __always_inline __u64 rfm_wakeup_flags(void)
{
	__u32 zero = 0;
	__u32 *unwoken = bpf_map_lookup_elem(&rfm_unwoken, &zero);

	if (!unwoken || ++*unwoken >= rfm_config.wakeup_batch) {
		if (unwoken)
			*unwoken = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	return BPF_RB_NO_WAKEUP;
}

/* Returns non-zero if the ring was full. */
static __always_inline int rfm_send(struct __sk_buff *skb, struct rfm_cursor *cur, __u32 slot,
				    const struct rfm_flow_key *key, const struct rfm_transport *tr,
				    const struct rfm_wire *wire, __u32 rate)
{
	struct rfm_flow_record *rec = bpf_ringbuf_reserve(&rfm_ring, sizeof(*rec), 0);
	struct rfm_macs {
		__be16 half[6];
	} macs = {};

	if (!rec)
		return -1;
	if (!(slot & RFM_SLOT_L3))
		rfm_load(cur, 0, &macs);
	rec->key = *key;
	rec->packets = wire->packets;
	rec->bytes = wire->bytes;
	rec->octets = wire->octets;
	rec->first = bpf_ktime_get_boot_ns();
	rec->last = rec->first;
	rec->sample_rate = rate;
	rec->ingress_ifindex = key->direction == RFM_EGRESS ? skb->ingress_ifindex : 0;
	__builtin_memcpy(rec->dst_mac, &macs.half[0], sizeof(rec->dst_mac));
	__builtin_memcpy(rec->src_mac, &macs.half[3], sizeof(rec->src_mac));
	rec->tcp_flags = tr->tcp_flags;
	rec->tos = tr->tos;
	rec->pad[0] = rec->pad[1] = 0;
	bpf_ringbuf_submit(rec, rfm_wakeup_flags());
	return 0;
}

static __always_inline int rfm_handle(struct __sk_buff *skb, __u32 direction)
{
	__u32 slot = rfm_slot(skb->ifindex);
	__u32 rate = rfm_config.sample_rate;
	__u32 tag_len = skb->vlan_present ? VLAN_HLEN : 0;
	__u32 gso_size = skb->gso_size;
	struct rfm_wire wire = { .packets = 1, .bytes = skb->len + tag_len };
	struct rfm_cursor cur = { .ctx = skb, .load = rfm_load_skb, .len = skb->len };
	struct rfm_counters *counters;
	struct rfm_transport tr = {};
	struct rfm_flow_key key = {};
	union rfm_network net;
	int take;

	if (!slot)
		return TCX_NEXT;
	counters = rfm_counters_of((slot & RFM_SLOT_MASK) - 1, direction);
	if (!counters)
		return TCX_NEXT;

	net = rfm_network_of(skb, slot);
	if (net.family >= RFM_OTHER) {
		if (net.family > RFM_OTHER)
			rfm_count_parse_error(net.family - RFM_FAMILIES);
		rfm_count_add(&counters->crossed[RFM_OTHER], 1, wire.bytes);
		return TCX_NEXT;
	}
	net.family &= 1; /* known already, but not to the verifier of old kernels */

	take = rfm_take(counters, rate);
	if (!take && !gso_size) {
		rfm_count_add(&counters->crossed[net.family], 1, wire.bytes);
		return TCX_NEXT;
	}
	if (rfm_parse_flow(&cur, &net, rfm_extensions_skb, &key, &tr))
		return TCX_NEXT;
	wire.octets = tr.octets;
	if (gso_size)
		rfm_wire_of_segments(&wire, skb->gso_segs, gso_size, skb->len, tag_len, net.offset,
				     tr.header_len, tr.octets);
	rfm_count_add(&counters->crossed[net.family], wire.packets, wire.bytes);
	if (!take)
		return TCX_NEXT;

	rfm_count_add(&counters->taken[net.family], wire.packets, wire.bytes);
	key.slot = (slot & RFM_SLOT_MASK) - 1;
	key.vlan_outer = net.vlan_outer;
	key.vlan_inner = net.vlan_inner;
	key.src_port = tr.src_port;
	key.dst_port = tr.dst_port;
	key.protocol = tr.protocol;
	key.direction = direction;
	key.family = net.family;
	if (rfm_send(skb, &cur, slot, &key, &tr, &wire, rate)) {
		rfm_count_add(&counters->lost[net.family], wire.packets, wire.bytes);
		rfm_add(&counters->lost_records, 1);
	}
	return TCX_NEXT;
}

SEC("tcx/ingress")
int rfm_ingress(struct __sk_buff *skb)
{
	return rfm_handle(skb, RFM_INGRESS);
}

SEC("tcx/egress")
int rfm_egress(struct __sk_buff *skb)
{
	return rfm_handle(skb, RFM_EGRESS);
}

char LICENSE[] SEC("license") = "GPL";
