/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parser, as the TC programs use it: how bytes are taken from an skb, and which parts of the
 * parser are functions of their own.
 */
#ifndef RFM_SKB_BPF_H
#define RFM_SKB_BPF_H

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
		.ctx = skb, .load = rfm_load_skb, .len = skb->len, .offset = offset};
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
	struct rfm_cursor cur = {.ctx = skb,
				 .load = rfm_load_skb,
				 .len = skb->len,
				 .offset = offset & RFM_MAX_OFFSET};
	union rfm_extensions walk = {.protocol = protocol};

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
	struct rfm_cursor cur = {.ctx = skb, .load = rfm_load_skb, .len = skb->len};
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

#endif
