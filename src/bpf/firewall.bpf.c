// SPDX-License-Identifier: GPL-2.0
/*
 * The firewall: drops at the door what rules say, and passes on all else untouched. One program for each
 * way in which the frames of an interface begin. Its own object: nothing of it is loaded unless it is
 * wanted. Needs kernel 5.18 (frames in pieces, bpf_loop).
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "rfm.h"
#include "common.bpf.h"
#include "key.bpf.h"
#include "parse.bpf.h"
#include "xdp.bpf.h"
#include "firewall.h"
#include "fw_lookup.bpf.h"
#include "fw_rules.bpf.h"
#include "fw_record.bpf.h"

#define ICMPV6_ND_FIRST 133 /* router solicitation */
#define ICMPV6_ND_LAST	137 /* redirect */

/* fe80::/10 on either side, or to ff02::/16; the first 16 bits of both are given. */
static __always_inline int rfm_fw_is_local(__u64 src, __u64 dst)
{
	return (src & 0xffc0) == 0xfe80 || (dst & 0xffc0) == 0xfe80 || dst == 0xff02;
}

/* A message that came through a router has a lower hop limit, and is not valid (RFC 4861 section 7). */
static __always_inline int rfm_fw_is_discovery(struct rfm_cursor *cur, const union rfm_network *net,
					       const struct rfm_transport *tr)
{
	__u32 type = bpf_ntohl(tr->ports) >> 8 & 0xff;
	struct rfm_ipv6_hdr buffer;
	const struct rfm_ipv6_hdr *ip;

	if (net->family != RFM_IPV6 || tr->protocol != IPPROTO_ICMPV6 || !tr->has_ports ||
	    type < ICMPV6_ND_FIRST || type > ICMPV6_ND_LAST)
		return 0;
	ip = rfm_header(cur, net->offset, &buffer);
	return ip && ip->hop_limit == 255;
}

/* What rules can match, from what the parser found. */
static __always_inline void rfm_fw_describe(struct rfm_fw_packet *packet, const struct rfm_key *key,
					    const struct rfm_transport *tr)
{
	__u32 ports = bpf_ntohl(tr->ports);

	packet->src[0] = bpf_be64_to_cpu(key->word[0]);
	packet->src[1] = bpf_be64_to_cpu(key->word[1]);
	packet->dst[0] = bpf_be64_to_cpu(key->word[2]);
	packet->dst[1] = bpf_be64_to_cpu(key->word[3]);
	packet->sport = ports >> 16;
	packet->dport = ports;
	packet->protocol = tr->protocol;
	packet->hidden = 0;
	if (packet->family == RFM_IPV6 && rfm_is_extension(tr->protocol))
		packet->hidden = RFM_FW_PORTS | RFM_FW_PROTOCOL;
	else if (rfm_fw_has_ports(tr->protocol) && !tr->has_ports)
		packet->hidden = RFM_FW_PORTS;
}

/* Walks every chain that may hold a match: those of both addresses, and that of the wide rules. */
static __always_inline void rfm_fw_walk_all(struct rfm_fw_packet *packet, const __u32 link[3])
{
	rfm_fw_walk(packet, link[0]);
	rfm_fw_walk(packet, link[1]);
	rfm_fw_walk(packet, link[2]);
}

static __always_inline __u32 rfm_fw_link(const struct rfm_fw_packet *packet,
					 const struct rfm_fw_head *head,
					 const struct rfm_fw_tables *tables, __u32 side)
{
	const __u64 *address = side == RFM_FW_SRC ? packet->src : packet->dst;

	if (packet->family == RFM_IPV4) {
		if (!rfm_fw_may_match(packet->set, head, side, address[0]))
			return 0;
		return rfm_fw_find4(packet->set, &tables->table[side], address[0] >> 32);
	}
	if (!rfm_fw_may_match(packet->set, head, 2 + side, address[0]))
		return 0;
	return rfm_fw_find6(packet->set, &tables->table[2 + side], address);
}

/* The part for packets that a rule may match. */
static __noinline int rfm_fw_judge(struct xdp_md *ctx, void *set, const struct rfm_fw_head *head,
				   __u64 network, __u32 start)
{
	union rfm_network net = {.word = network};
	const union rfm_fw_block *block = rfm_fw_block(set, 1);
	struct rfm_fw_packet packet = {.set = set, .best = RFM_FW_NO_RULE};
	struct rfm_transport tr = {};
	struct rfm_key key = {};
	struct rfm_cursor cur;
	__u32 link[3];
	int verdict;

	if (!block)
		return XDP_PASS;
	net.family &= 1; /* known already, but not to the verifier */
	rfm_open_xdp(&cur, ctx);
	if (rfm_parse_flow(&cur, &net, rfm_extensions_xdp, &key, &tr) ||
	    rfm_fw_is_discovery(&cur, &net, &tr))
		return XDP_PASS;
	packet.family = net.family;
	rfm_fw_describe(&packet, &key, &tr);
	packet.rules = head->rules;
	packet.to.counts = head->counts;
	packet.to.share = (bpf_get_smp_processor_id() & head->cpu_mask) * head->share;
	packet.to.bytes = bpf_xdp_get_buff_len(ctx);
	packet.to.shared = head->flags & RFM_FW_SHARED;
	if (head->flags & RFM_FW_HAS_INTERFACES)
		packet.interface = rfm_fw_find4(set, &block->tables.table[RFM_FW_INTERFACES],
						ctx->ingress_ifindex);
	link[0] = rfm_fw_link(&packet, head, &block->tables, RFM_FW_SRC);
	link[1] = rfm_fw_link(&packet, head, &block->tables, RFM_FW_DST);
	link[2] = head->wide;
	rfm_fw_walk_all(&packet, link);
	if (head->flags & RFM_FW_HAS_COUNT) {
		packet.counting = 1;
		rfm_fw_walk_all(&packet, link);
	}
	if (packet.best == RFM_FW_NO_RULE)
		return XDP_PASS;
	verdict = rfm_fw_decide(&packet);
	if (verdict == XDP_DROP)
		rfm_fw_sample(ctx, &net, &key, &tr, packet.to.bytes, start);
	return verdict;
}

static __always_inline int rfm_fw_handle_v4(struct xdp_md *ctx, void *set,
					    const struct rfm_fw_head *head, __be32 saddr,
					    __be32 daddr, __u64 network, __u32 start)
{
	if (!head->wide &&
	    !rfm_fw_may_match(set, head, RFM_FW_SRC, (__u64)bpf_ntohl(saddr) << 32) &&
	    !rfm_fw_may_match(set, head, RFM_FW_DST, (__u64)bpf_ntohl(daddr) << 32))
		return XDP_PASS;
	return rfm_fw_judge(ctx, set, head, network, start);
}

static __always_inline int rfm_fw_handle_v6(struct xdp_md *ctx, void *set,
					    const struct rfm_fw_head *head, __u64 saddr,
					    __u64 daddr, __u64 network, __u32 start)
{
	__u64 src = bpf_be64_to_cpu(saddr), dst = bpf_be64_to_cpu(daddr);

	if (rfm_fw_is_local(src >> 48, dst >> 48))
		return XDP_PASS;
	if (!head->wide && !rfm_fw_may_match(set, head, 2 + RFM_FW_SRC, src) &&
	    !rfm_fw_may_match(set, head, 2 + RFM_FW_DST, dst))
		return XDP_PASS;
	return rfm_fw_judge(ctx, set, head, network, start);
}

/* What is not plain Ethernet with plain IP. */
static __noinline int rfm_fw_handle_other(struct xdp_md *ctx, void *set,
					  const struct rfm_fw_head *head, __u32 start)
{
	union rfm_network net = {.word = rfm_fw_network(ctx, start)};
	struct rfm_cursor cur;

	rfm_open_xdp(&cur, ctx);
	if (net.family == RFM_IPV4) {
		struct rfm_ipv4_hdr buffer;
		const struct rfm_ipv4_hdr *ip = rfm_header(&cur, net.offset, &buffer);

		if (ip)
			return rfm_fw_handle_v4(ctx, set, head, ip->saddr, ip->daddr, net.word,
						start);
	} else if (net.family == RFM_IPV6) {
		struct rfm_ipv6_hdr buffer;
		const struct rfm_ipv6_hdr *ip = rfm_header(&cur, net.offset, &buffer);

		if (ip)
			return rfm_fw_handle_v6(ctx, set, head, ip->saddr[0], ip->daddr[0],
						net.word, start);
	}
	return XDP_PASS;
}

static __always_inline int rfm_fw_handle(struct xdp_md *ctx, __u32 start)
{
	void *set = bpf_map_lookup_elem(&rfm_fw_sets, &(__u32){0});
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct rfm_ipv4_hdr *four = data + ETH_HLEN;
	const struct rfm_ipv6_hdr *six = data + ETH_HLEN;
	union rfm_network net = {.offset = ETH_HLEN};
	const union rfm_fw_block *block;
	__be16 type;

	if (!set)
		return XDP_PASS;
	block = rfm_fw_block(set, 0);
	if (!block)
		return XDP_PASS;
	if (start != RFM_FW_ETHERNET || (void *)(four + 1) > end)
		return rfm_fw_handle_other(ctx, set, &block->head, start);
	type = *(__be16 *)(data + ETH_HLEN - sizeof(type));
	if (type == bpf_htons(ETH_P_IP) && four->version_ihl == 0x45) {
		net.header_len = sizeof(*four);
		net.family = RFM_IPV4;
		return rfm_fw_handle_v4(ctx, set, &block->head, four->saddr, four->daddr, net.word,
					start);
	}
	if (type == bpf_htons(ETH_P_IPV6) && (void *)(six + 1) <= end &&
	    six->version_class >> 4 == 6) {
		net.header_len = IPV6_HLEN;
		net.family = RFM_IPV6;
		return rfm_fw_handle_v6(ctx, set, &block->head, six->saddr[0], six->daddr[0],
					net.word, start);
	}
	return rfm_fw_handle_other(ctx, set, &block->head, start);
}

SEC("xdp.frags")
int rfm_fw_ether(struct xdp_md *ctx)
{
	return rfm_fw_handle(ctx, RFM_FW_ETHERNET);
}

SEC("xdp.frags")
int rfm_fw_ip(struct xdp_md *ctx)
{
	return rfm_fw_handle(ctx, RFM_FW_IP);
}

SEC("xdp.frags")
int rfm_fw_gre(struct xdp_md *ctx)
{
	return rfm_fw_handle(ctx, RFM_FW_GRE);
}

char LICENSE[] SEC("license") = "GPL";
