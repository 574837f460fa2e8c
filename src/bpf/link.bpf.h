/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Parses the headers between Ethernet and IP, a part of parse.bpf.h: VLAN tags, MPLS labels, PPPoE. Linux strips
 * any number of them, so all are read.
 */
#ifndef RFM_LINK_BPF_H
#define RFM_LINK_BPF_H

static __always_inline int rfm_is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

static __always_inline int rfm_is_mpls(__be16 proto)
{
	return proto == bpf_htons(ETH_P_MPLS_UC) || proto == bpf_htons(ETH_P_MPLS_MC);
}

static __always_inline int rfm_is_stack(__be16 proto)
{
	return rfm_is_vlan(proto) || rfm_is_mpls(proto) || proto == bpf_htons(ETH_P_PPP_SES);
}

/* A position among the headers between Ethernet and IP; a function returns it as one word. */
union rfm_stack {
	struct {
		__u16 offset; /* of the next header */
		__be16 proto; /* its EtherType; 0 below an MPLS label stack, or if it has none */
		__u8 is_more; /* the next batch reads it */
		__u8 is_mpls; /* the last header was an MPLS label */
		__u8 error;   /* enum rfm_parse_error plus one */
		__u8 pad;
	};
	__u64 word;
};

/* A program's own global functions around rfm_parse_stack_batch() and rfm_parse_mpls_payload(), verified once. */
typedef __u64 (*rfm_stack_batch_fn)(void *ctx, __u64 stack);
typedef __be16 (*rfm_mpls_payload_fn)(void *ctx, __u32 offset);

/*
 * Parses a PPPoE header (RFC 2516, session stage). Linux reads neither the version nor the code, and accepts a
 * protocol field of one byte (RFC 1661 section 6.5; ppp_input() in drivers/net/ppp/ppp_generic.c), so this does
 * the same.
 */
static __always_inline int rfm_parse_pppoe(struct rfm_cursor *cur, __be16 *proto)
{
	struct rfm_pppoe_hdr buffer;
	const struct rfm_pppoe_hdr *hdr = rfm_header(cur, cur->offset, &buffer);
	__u32 ppp;

	*proto = 0;
	if (!hdr)
		return -1;
	ppp = bpf_ntohs(hdr->proto);
	cur->offset += sizeof(*hdr);
	if (ppp & 0x100) {
		ppp >>= 8;
		cur->offset--;
	}
	if (ppp == PPP_IP)
		*proto = bpf_htons(ETH_P_IP);
	else if (ppp == PPP_IPV6)
		*proto = bpf_htons(ETH_P_IPV6);
	else if (ppp == PPP_MPLS_UC || ppp == PPP_MPLS_MC)
		*proto = bpf_htons(ETH_P_MPLS_UC);
	return 0;
}

/* An entry of a stack, by the EtherType before it. */
enum rfm_stack_entry {
	RFM_NO_ENTRY,
	RFM_TAG,
	RFM_LABEL,
};

/*
 * Parses one batch: a PPPoE header if there is one, then up to RFM_STACK_BATCH entries of 4 bytes each, which
 * are 802.1Q and 802.1ad tags, or MPLS labels (RFC 3032).
 */
static __always_inline void rfm_parse_stack_batch(struct rfm_cursor *cur, union rfm_stack *stack)
{
	__be16 proto = stack->proto;

	cur->offset = stack->offset;
	stack->word = 0;
	if (proto == bpf_htons(ETH_P_PPP_SES) && rfm_parse_pppoe(cur, &proto)) {
		stack->error = 1 + RFM_ERR_LINK;
		return;
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < RFM_STACK_BATCH; i++) {
		__u32 kind = rfm_forget(rfm_is_vlan(proto)   ? RFM_TAG
					: rfm_is_mpls(proto) ? RFM_LABEL
							     : RFM_NO_ENTRY,
					cur->len);
		const struct rfm_vlan_hdr *entry;
		struct rfm_vlan_hdr buffer;

		proto = rfm_forget(proto, cur->len);
		cur->offset = rfm_forget(cur->offset, cur->len);
		if (kind == RFM_NO_ENTRY)
			break;
		entry = rfm_header(cur, cur->offset, &buffer);
		if (!entry) {
			stack->error = 1 + RFM_ERR_LINK;
			return;
		}
		cur->offset += sizeof(*entry);
		if (kind == RFM_TAG) {
			proto = entry->proto;
		} else if (entry->proto & bpf_htons(0x100)) { /* bottom of stack */
			stack->is_mpls = 1;
			proto = 0;
			break;
		}
	}
	stack->offset = cur->offset;
	stack->proto = proto;
	stack->is_more = rfm_is_stack(proto) && cur->offset <= RFM_STACK_END;
}

/*
 * Reads all headers between Ethernet and IP; *proto is the EtherType before and after.
 *
 * No field names the protocol after MPLS labels: the first nibble is that of IPv4, IPv6 or a control word (RFC
 * 4928 section 3), but an Ethernet pseudowire without a control word may begin with any nibble (RFC 8469 section
 * 3). `mpls_payload` decides.
 */
static __always_inline int rfm_parse_stack(struct rfm_cursor *cur, rfm_stack_batch_fn batch,
					   rfm_mpls_payload_fn mpls_payload, __be16 *proto)
{
	union rfm_stack stack = {.offset = cur->offset, .proto = *proto};

#pragma clang loop unroll(disable)
	for (int i = 0; i < RFM_STACK_BATCHES; i++) {
		stack.word = batch(cur->ctx, stack.word);
		if (!stack.is_more)
			break;
	}
	if (stack.error)
		return RFM_ERROR(stack.error - 1);
	if (rfm_is_stack(stack.proto) || stack.offset > RFM_STACK_END)
		return RFM_UNREAD;
	cur->offset = stack.offset & RFM_MAX_OFFSET;
	*proto = stack.is_mpls ? mpls_payload(cur->ctx, cur->offset) : stack.proto;
	return 0;
}

/* Parses the first two tags in the frame (802.1Q, 802.1ad); *proto is the EtherType before and after. */
static __always_inline int rfm_parse_vlan(struct rfm_cursor *cur, __be16 *proto,
					  union rfm_l3_header *l3, __u32 tags)
{
#pragma unroll
	for (int i = 0; i < RFM_PLAIN_TAGS; i++) {
		const struct rfm_vlan_hdr *tag;
		struct rfm_vlan_hdr buffer;

		if (!rfm_is_vlan(*proto))
			return 0;
		tag = rfm_header(cur, cur->offset, &buffer);
		if (!tag)
			return RFM_ERROR(RFM_ERR_LINK);
		if (tags == 0)
			l3->vlan_outer = bpf_ntohs(tag->tci) & VLAN_VID_MASK;
		else if (tags == 1)
			l3->vlan_inner = bpf_ntohs(tag->tci) & VLAN_VID_MASK;
		tags++;
		*proto = tag->proto;
		cur->offset += VLAN_HLEN;
	}
	return 0;
}

/* Is the checksum of an IPv4 header at the cursor correct (RFC 791)? */
static __always_inline int rfm_is_ipv4_intact(struct rfm_cursor *cur, __u32 header_len)
{
	__u64 sum = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 60; i += sizeof(__be32)) {
		const __be32 *word;
		__be32 buffer;

		if (i >= header_len)
			break;
		word = rfm_header(cur, cur->offset + i, &buffer);
		if (!word)
			return 0;
		sum += *word;
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/*
 * Returns the EtherType of the payload at the cursor below an MPLS label stack; 0 if it is not an IP packet. An
 * Ethernet pseudowire without a control word begins with the destination address, whose first nibble may have
 * any value: so the IPv4 checksum must be correct, which a receiver also checks. IPv6 has none. Its length must
 * fit, and if `exact` is set nothing may follow the packet, apart from a trailer or the padding of a short
 * frame. The firewall does not set it: Linux accepts any bytes after the packet.
 */
static __always_inline __be16 rfm_parse_mpls_payload(struct rfm_cursor *cur, int exact)
{
	struct rfm_ipv6_front buffer;
	const struct rfm_ipv6_front *front = rfm_header(cur, cur->offset, &buffer);
	__u32 present = cur->len - cur->offset, ip_bytes;
	__u8 first;

	if (!front)
		return 0;
	first = front->version_class;
	ip_bytes = rfm_ipv6_bytes(front->payload_len, front->nexthdr, present);
	if (first >> 4 == 4 && (first & 0xf) >= 5 && rfm_is_ipv4_intact(cur, (first & 0xf) * 4))
		return bpf_htons(ETH_P_IP);
	if (first >> 4 != 6 || present < IPV6_HLEN || ip_bytes > present)
		return 0;
	if (exact && present - ip_bytes > RFM_MAX_TRAILER && cur->len > RFM_MIN_FRAME)
		return 0;
	return bpf_htons(ETH_P_IPV6);
}

#endif
