/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parser, as the TC programs use it: how bytes are taken from an skb, and which parts of the
 * parser are functions of their own.
 */
#ifndef RFM_SKB_BPF_H
#define RFM_SKB_BPF_H

/*
 * May the programs read kernel memory? Not under lockdown=confidentiality: there the verifier drops
 * what this guards, super-packets in tunnels are counted with their outer headers alone, and GRE
 * devices are seen from their outer header on.
 */
const volatile __u8 rfm_read_kernel = 1;

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

/*
 * Where the frame begins. Not at its first byte for what comes in on a GRE device, which keeps the
 * outer headers in front for packet sockets (skb_pop_mac_header in net/ipv4/ip_gre.c).
 */
static __always_inline __u32 rfm_frame_start(struct __sk_buff *skb, __u32 slot)
{
	if (!rfm_read_kernel || !(slot & RFM_SLOT_GRE))
		return 0;
	return BPF_CORE_READ((struct sk_buff *)skb, mac_len);
}

/* From the first byte to the payload of the inner transport; 0 if the packet is in no tunnel. */
static __always_inline __u32 rfm_inner_header_len(struct __sk_buff *ctx)
{
	struct rfm_cursor cur = {.ctx = ctx, .load = rfm_load_skb, .len = ctx->len};
	struct sk_buff *skb = (struct sk_buff *)ctx;
	struct skb_shared_info *shared;
	unsigned char *head;
	__u8 data_offset;

	if (!BPF_CORE_READ_BITFIELD_PROBED(skb, encapsulation))
		return 0;
	head = BPF_CORE_READ(skb, head);
	cur.offset = (head + BPF_CORE_READ(skb, inner_transport_header)) - BPF_CORE_READ(skb, data);
	shared = (struct skb_shared_info *)(head + BPF_CORE_READ(skb, end));
	if (!(BPF_CORE_READ(shared, gso_type) & (SKB_GSO_TCPV4 | SKB_GSO_TCPV6)))
		return cur.offset + 8; /* UDP */
	if (cur.offset + 20 > cur.len || rfm_load(&cur, cur.offset + 12, &data_offset))
		return 0;
	return cur.offset + (data_offset >> 4) * 4;
}

/*
 * How many bytes of a super-packet each of its segments repeats. A function of its own: it reads the
 * headers once more, which is little for what a super-packet carries.
 */
__noinline __u32 rfm_repeated_len(struct __sk_buff *skb, __u64 network)
{
	struct rfm_cursor cur = {.ctx = skb, .load = rfm_load_skb, .len = skb->len};
	union rfm_network net = {.word = network};
	struct rfm_transport tr = {};
	struct rfm_key key = {};

	if (rfm_read_kernel) {
		__u32 inner = rfm_inner_header_len(skb);

		if (inner)
			return inner;
	}
	return rfm_parse_flow(&cur, &net, rfm_extensions_skb, &key, &tr) ? 0 : tr.header_len;
}

/* Plain Ethernet is short and inline; what has tags, labels or sessions pays a call. */
static __always_inline union rfm_network rfm_network_of(struct __sk_buff *skb, __u32 slot,
							__u32 start)
{
	struct rfm_cursor cur = {.ctx = skb, .load = rfm_load_skb, .len = skb->len};
	union rfm_network net = {};
	__be16 proto;
	int err;

	if (slot & RFM_SLOT_L3) {
		net.word = rfm_find_network(skb, skb->protocol, start);
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
