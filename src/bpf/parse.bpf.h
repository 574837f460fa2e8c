/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From the first byte of a frame to the ports of its transport header: one cursor, one function per
 * header. Each function checks that its header is there, reads it, moves the cursor and says what
 * comes next. EtherTypes are kept in network order, as they lie on the wire.
 *
 * Two stages: rfm_parse_network() is for every packet that is not plain (see skb.bpf.h);
 * rfm_parse_flow() for those that are taken, and for super-packets, whose header length it also finds.
 */
#ifndef RFM_PARSE_BPF_H
#define RFM_PARSE_BPF_H

#define ETH_HLEN	   14
#define ETH_P_IP	   0x0800
#define ETH_P_IPV6	   0x86dd
#define ETH_P_8021Q	   0x8100
#define ETH_P_8021AD	   0x88a8
#define ETH_P_MPLS_UC	   0x8847
#define ETH_P_MPLS_MC	   0x8848
#define ETH_P_PPP_SES	   0x8864

#define PPP_IP		   0x0021
#define PPP_IPV6	   0x0057

#define IPPROTO_HOPOPTS	   0
#define IPPROTO_ICMP	   1
#define IPPROTO_TCP	   6
#define IPPROTO_UDP	   17
#define IPPROTO_DCCP	   33
#define IPPROTO_ROUTING	   43
#define IPPROTO_FRAGMENT   44
#define IPPROTO_AH	   51
#define IPPROTO_ICMPV6	   58
#define IPPROTO_DSTOPTS	   60
#define IPPROTO_SCTP	   132
#define IPPROTO_UDPLITE	   136

#define VLAN_HLEN	   4
#define VLAN_VID_MASK	   0x0fff
#define IPV6_HLEN	   40
#define IP_OFFSET_MASK	   0x1fff
#define IP6_OFFSET_MASK	   0xfff8

#define RFM_MAX_VLAN_TAGS  2 /* in band, beside an offloaded one */
#define RFM_MAX_LABELS	   4
#define RFM_MAX_EXTENSIONS 6

/* A mask. No header starts beyond: 14 + 2 * 4 + 4 * 4 + 8 + 40 + 6 * 2048 is less. */
#define RFM_MAX_OFFSET 0x3fff

/*
 * Where `len` bytes at `offset` of the frame can be read: in its linear part, or in `buffer`, into
 * which the load helper of the program type copied them. NULL if the frame is shorter. Inlined with
 * a constant length.
 *
 * Such a function takes the packet pointers from the context anew each time: kept over several
 * headers, the range that each comparison proves for them would split the verifier's states in two
 * at every header. For the same reason the offset is bounded by a mask and not by a comparison.
 */
typedef const void *(*rfm_header_fn)(void *ctx, __u32 offset, void *buffer, __u32 len);

struct rfm_cursor {
	void *ctx;
	rfm_header_fn header;
	__u32 len; /* of the whole frame, linear or not */
	__u32 offset;
};

/* What is known of a packet once its IP header was looked for; a function returns it as one word. */
union rfm_network {
	struct {
		__u16 offset; /* of the IP header */
		__u16 vlan_outer;
		__u16 vlan_inner;
		__u8 header_len; /* IPv4 with options; IPv6 without extension headers */
		__u8 family;	 /* enum rfm_family, or RFM_FAMILIES + enum rfm_parse_error */
	};
	__u64 word;
};

/* What a taken packet adds to that. */
struct rfm_transport {
	__u32 header_len; /* from the first byte of the frame to the payload of the transport */
	__u32 octets;	  /* by the IP length fields */
	__u32 ports;	  /* source and destination, as they lie on the wire */
	__u8 protocol;
	__u8 tcp_flags;
	__u8 tos;
};

struct rfm_vlan_hdr {
	__be16 tci;
	__be16 proto;
};

struct rfm_pppoe_hdr {
	__u8 version_type;
	__u8 code;
	__be16 session;
	__be16 length;
	__be16 proto; /* of the PPP frame inside */
};

struct rfm_ipv4_hdr {
	__u8 version_ihl;
	__u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off;
	__u8 ttl;
	__u8 protocol;
	__sum16 check;
	__be32 saddr;
	__be32 daddr;
};

struct rfm_ipv6_hdr {
	__u8 version_class; /* version, upper half of the traffic class */
	__u8 class_label;   /* lower half of the traffic class, flow label */
	__be16 flow_label;
	__be16 payload_len;
	__u8 nexthdr;
	__u8 hop_limit;
	__u64 saddr[2];
	__u64 daddr[2];
};

/* As far as it is read. */
struct rfm_tcp_hdr {
	__u32 ports;
	__be32 seq;
	__be32 ack;
	__u8 data_offset;
	__u8 flags;
	__be16 window;
};

#define TCP_HLEN 20

struct rfm_ipv6_ext {
	__u8 nexthdr;
	__u8 len;
	__be16 frag_off; /* of the fragment header */
};

/* The header at an offset, typed as the buffer that it may have to be copied to. */
#define rfm_header(cursor, at, buffer)                                                             \
	((const typeof(*(buffer)) *)(cursor)->header((cursor)->ctx, (at)&RFM_MAX_OFFSET, (buffer), \
						     sizeof(*(buffer))))

/*
 * The functions up to rfm_parse_network() return 0, or what becomes of the family of a frame that
 * should have held an IP header and does not.
 */
#define RFM_ERROR(reason) (RFM_FAMILIES + (reason))

/* Up to two tags in band (802.1Q, 802.1ad); *proto is the EtherType before and after. */
static __always_inline int rfm_parse_vlan(struct rfm_cursor *cur, __be16 *proto,
					  union rfm_network *net, __u32 tags)
{
#pragma unroll
	for (int i = 0; i < RFM_MAX_VLAN_TAGS; i++) {
		const struct rfm_vlan_hdr *tag;
		struct rfm_vlan_hdr buffer;

		if (*proto != bpf_htons(ETH_P_8021Q) && *proto != bpf_htons(ETH_P_8021AD))
			return 0;
		tag = rfm_header(cur, cur->offset, &buffer);
		if (!tag)
			return RFM_ERROR(RFM_ERR_LINK);
		if (tags == 0)
			net->vlan_outer = bpf_ntohs(tag->tci) & VLAN_VID_MASK;
		else if (tags == 1)
			net->vlan_inner = bpf_ntohs(tag->tci) & VLAN_VID_MASK;
		tags++;
		*proto = tag->proto;
		cur->offset += VLAN_HLEN;
	}
	return 0;
}

/* RFC 3032 label stack; below it the first nibble tells IPv4 and IPv6 (RFC 4928 section 3). */
static __always_inline int rfm_parse_mpls(struct rfm_cursor *cur, __be16 *proto)
{
	const __u8 *first;
	__u8 first_buffer;

	*proto = 0;
#pragma unroll
	for (int i = 0; i < RFM_MAX_LABELS; i++) {
		const __be32 *label;
		__be32 buffer;

		label = rfm_header(cur, cur->offset, &buffer);
		if (!label)
			return RFM_ERROR(RFM_ERR_LINK);
		cur->offset += sizeof(*label);
		if (*label & bpf_htonl(0x100)) /* bottom of stack */
			goto bottom;
	}
	return 0;
bottom:
	first = rfm_header(cur, cur->offset, &first_buffer);
	if (!first)
		return RFM_ERROR(RFM_ERR_IP_TRUNCATED);
	if (*first >> 4 == 4)
		*proto = bpf_htons(ETH_P_IP);
	else if (*first >> 4 == 6)
		*proto = bpf_htons(ETH_P_IPV6);
	return 0;
}

/* RFC 2516 session stage: code 0, then a PPP protocol number. */
static __always_inline int rfm_parse_pppoe(struct rfm_cursor *cur, __be16 *proto)
{
	struct rfm_pppoe_hdr buffer;
	const struct rfm_pppoe_hdr *hdr = rfm_header(cur, cur->offset, &buffer);

	*proto = 0;
	if (!hdr)
		return RFM_ERROR(RFM_ERR_LINK);
	cur->offset += sizeof(*hdr);
	if (hdr->code != 0)
		return 0;
	if (hdr->proto == bpf_htons(PPP_IP))
		*proto = bpf_htons(ETH_P_IP);
	else if (hdr->proto == bpf_htons(PPP_IPV6))
		*proto = bpf_htons(ETH_P_IPV6);
	return 0;
}

/* Does an IP header of the promised version lie at the cursor, whole? Sets the family if so. */
static __always_inline int rfm_parse_ip(struct rfm_cursor *cur, __be16 proto,
					union rfm_network *net)
{
	const __u8 *first;
	__u8 buffer;

	if (proto != bpf_htons(ETH_P_IP) && proto != bpf_htons(ETH_P_IPV6))
		return 0;
	first = rfm_header(cur, cur->offset, &buffer);
	if (!first)
		return RFM_ERROR(RFM_ERR_IP_TRUNCATED);
	if (proto == bpf_htons(ETH_P_IP)) {
		if (*first >> 4 != 4)
			return RFM_ERROR(RFM_ERR_IP_VERSION);
		net->header_len = (*first & 0xf) * 4;
		if (net->header_len < sizeof(struct rfm_ipv4_hdr))
			return RFM_ERROR(RFM_ERR_IP_HEADER_LENGTH);
		if (cur->offset + net->header_len > cur->len)
			return RFM_ERROR(RFM_ERR_IP_TRUNCATED);
		net->family = RFM_IPV4;
	} else {
		if (*first >> 4 != 6)
			return RFM_ERROR(RFM_ERR_IP_VERSION);
		if (cur->offset + IPV6_HLEN > cur->len)
			return RFM_ERROR(RFM_ERR_IP_TRUNCATED);
		net->header_len = IPV6_HLEN;
		net->family = RFM_IPV6;
	}
	net->offset = cur->offset;
	return 0;
}

/*
 * Finds the IP header of a frame and with it the family. `proto` is the EtherType of the bytes at
 * the cursor, `tags` how many VLAN tags were already met (an offloaded one).
 */
static __always_inline int rfm_parse_network(struct rfm_cursor *cur, __be16 proto, __u32 tags,
					     union rfm_network *net)
{
	int err = rfm_parse_vlan(cur, &proto, net, tags);

	if (err)
		return err;
	if (proto == bpf_htons(ETH_P_MPLS_UC) || proto == bpf_htons(ETH_P_MPLS_MC))
		err = rfm_parse_mpls(cur, &proto);
	else if (proto == bpf_htons(ETH_P_PPP_SES))
		err = rfm_parse_pppoe(cur, &proto);
	if (err)
		return err;
	return rfm_parse_ip(cur, proto, net);
}

/*
 * Ports, or type and code, of the protocols that have them; the cursor is at the transport header. A
 * header cut short leaves them 0. Returns the length of the transport header, 0 if there is none.
 */
static __always_inline __u32 rfm_parse_transport(struct rfm_cursor *cur, struct rfm_transport *tr)
{
	const __u32 *ports;
	__u32 buffer, len;

	if (tr->protocol == IPPROTO_TCP) {
		struct rfm_tcp_hdr tcp_buffer;
		const struct rfm_tcp_hdr *tcp = rfm_header(cur, cur->offset, &tcp_buffer);

		if (!tcp || cur->offset + TCP_HLEN > cur->len)
			return 0;
		tr->ports = tcp->ports;
		tr->tcp_flags = tcp->flags;
		return (tcp->data_offset >> 4) * 4;
	}
	switch (tr->protocol) {
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		len = 8;
		break;
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		len = 12;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		len = 4;
		break;
	default:
		return 0;
	}
	ports = rfm_header(cur, cur->offset, &buffer);
	if (!ports || cur->offset + len > cur->len)
		return 0;
	if (len == 4) /* type and code: NetFlow carries them as destination port */
		tr->ports = rfm_join16(0, *(const __u16 *)ports);
	else
		tr->ports = *ports;
	return len;
}

/* Where a walk over IPv6 extension headers ended; a function returns it as one word. */
union rfm_extensions {
	struct {
		__u16 offset;
		__u8 protocol;
		__u8 last; /* nothing is to be read at the offset: cut short, or a later fragment */
		__u32 pad;
	};
	__u64 word;
};

/* A program's own global function around rfm_parse_extensions(), verified once. */
typedef __u64 (*rfm_extensions_fn)(void *ctx, __u32 protocol, __u32 offset);

static __always_inline int rfm_is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_AH ||
	       protocol == IPPROTO_DSTOPTS;
}

/* RFC 8200 section 4, up to six headers; the protocol is then what the last one names. */
static __always_inline void rfm_parse_extensions(struct rfm_cursor *cur, union rfm_extensions *walk)
{
#pragma unroll
	for (int i = 0; i < RFM_MAX_EXTENSIONS; i++) {
		const struct rfm_ipv6_ext *ext;
		struct rfm_ipv6_ext buffer;
		__u32 len;

		if (!rfm_is_extension(walk->protocol))
			return;
		walk->last = 1;
		ext = rfm_header(cur, cur->offset, &buffer);
		if (!ext)
			return;
		if (walk->protocol == IPPROTO_FRAGMENT)
			len = 8;
		else if (walk->protocol == IPPROTO_AH)
			len = (ext->len + 2) * 4; /* RFC 4302 section 2.2 */
		else
			len = (ext->len + 1) * 8;
		if (cur->offset + len > cur->len)
			return;
		cur->offset += len;
		walk->last = walk->protocol == IPPROTO_FRAGMENT &&
			     ext->frag_off & bpf_htons(IP6_OFFSET_MASK);
		walk->protocol = ext->nexthdr;
		if (walk->last)
			return;
	}
}

/* What the IP length field says, but never more than is there; 0 stands for a jumbogram. */
static __always_inline __u32 rfm_octets(__u32 said, __u32 present)
{
	return said && said < present ? said : present;
}

/*
 * Reads the addresses into the key, and everything else into `tr`. Returns non-zero if the IP header
 * could not be read, which only a frame that changes under us can cause.
 */
static __always_inline int rfm_parse_flow(struct rfm_cursor *cur, const union rfm_network *net,
					  rfm_extensions_fn extensions, struct rfm_key *key,
					  struct rfm_transport *tr)
{
	__u32 present = cur->len - net->offset;
	int last = 0;

	cur->offset = net->offset;
	if (net->family == RFM_IPV4) {
		struct rfm_ipv4_hdr buffer;
		const struct rfm_ipv4_hdr *ip = rfm_header(cur, cur->offset, &buffer);

		if (!ip)
			return -1;
		key->word[0] = rfm_join(ip->saddr, 0);
		key->word[2] = rfm_join(ip->daddr, 0);
		tr->tos = ip->tos;
		tr->protocol = ip->protocol;
		tr->octets = rfm_octets(bpf_ntohs(ip->tot_len), present);
		last = ip->frag_off & bpf_htons(IP_OFFSET_MASK);
		cur->offset += net->header_len;
	} else {
		struct rfm_ipv6_hdr buffer;
		const struct rfm_ipv6_hdr *ip = rfm_header(cur, cur->offset, &buffer);

		if (!ip)
			return -1;
		key->word[0] = ip->saddr[0];
		key->word[1] = ip->saddr[1];
		key->word[2] = ip->daddr[0];
		key->word[3] = ip->daddr[1];
		tr->tos = ip->version_class << 4 | ip->class_label >> 4;
		tr->protocol = ip->nexthdr;
		tr->octets = rfm_octets(
			ip->payload_len ? bpf_ntohs(ip->payload_len) + IPV6_HLEN : 0, present);
		cur->offset += IPV6_HLEN;
		if (rfm_is_extension(tr->protocol)) {
			union rfm_extensions walk = {
				.word = extensions(cur->ctx, tr->protocol, cur->offset)};

			tr->protocol = walk.protocol;
			cur->offset = walk.offset;
			last = walk.last;
		}
	}
	tr->header_len = cur->offset;
	/* what follows the packet is Ethernet padding, and no transport header */
	cur->len = net->offset + tr->octets;
	if (!last)
		tr->header_len += rfm_parse_transport(cur, tr);
	return 0;
}

#endif
