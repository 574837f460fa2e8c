/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From the chains of rules that may match to a verdict: the match with the lowest number decides, and
 * those before it that only count are counted.
 *
 * A packet whose ports are not to be seen (a later fragment, a header cut short) matches a rule with
 * ports by all else that the rule says, unless that rule passes: what is hidden must not open a door. The
 * same holds for a protocol behind more extension headers than are walked.
 */
#ifndef RFM_FW_RULES_BPF_H
#define RFM_FW_RULES_BPF_H

/* Userspace refuses a set in which a chain is longer (MAX_CHAIN of bounds.rs). */
#define RFM_FW_MAX_CHAIN 1024

/* Tries before a limit takes a packet for too much: other CPUs took a token each time. */
#define RFM_FW_LIMIT_TRIES 8

#define RFM_FW_NO_RULE	   ~0u

/* A packet, as rules see it. */
struct rfm_fw_packet {
	void *set;
	__u64 src[2]; /* host order, as in a rule */
	__u64 dst[2];
	__u32 rules;	 /* first block */
	__u32 at;	 /* link, while a chain is walked */
	__u32 best;	 /* number of the first match so far */
	__u32 interface; /* number plus one; 0: no rule names it */
	__u16 sport;
	__u16 dport;
	__u8 protocol;
	__u8 family;
	__u8 hidden;   /* RFM_FW_PORTS, RFM_FW_PROTOCOL: what cannot be seen */
	__u8 counting; /* second round: count what only counts, below the best */
	struct rfm_fw_counting {
		__u32 counts;
		__u32 share;
		__u32 bytes;
		__u32 shared;
	} to;
};

static __always_inline int rfm_fw_in_prefix(const __u64 address[2], const __u64 prefix[2], __u8 len)
{
	if (!len)
		return 1;
	if (len <= 64)
		return !((address[0] ^ prefix[0]) >> ((64 - len) & 63));
	return address[0] == prefix[0] && !((address[1] ^ prefix[1]) >> ((128 - len) & 63));
}

static __always_inline int rfm_fw_has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

static __always_inline int rfm_fw_in_ports(const struct rfm_fw_packet *packet,
					   const struct rfm_fw_rule *rule)
{
	if (packet->hidden)
		return rule->action != RFM_FW_PASS;
	return rfm_fw_has_ports(packet->protocol) && packet->sport >= rule->sport[0] &&
	       packet->sport <= rule->sport[1] && packet->dport >= rule->dport[0] &&
	       packet->dport <= rule->dport[1];
}

static __always_inline int rfm_fw_on_interface(const struct rfm_fw_packet *packet, __u32 first)
{
	__u32 bit = packet->interface - 1;
	const union rfm_fw_block *block;

	if (!packet->interface)
		return 0;
	block = rfm_fw_block(packet->set, first + (bit >> 9));
	return block && block->word[bit >> 6 & 7] >> (bit & 63) & 1;
}

static __always_inline int rfm_fw_matches(const struct rfm_fw_packet *packet,
					  const struct rfm_fw_rule *rule)
{
	if (rule->family != packet->family && rule->family != RFM_IP_FAMILIES)
		return 0;
	if (!rfm_fw_in_prefix(packet->src, rule->src, rule->src_len) ||
	    !rfm_fw_in_prefix(packet->dst, rule->dst, rule->dst_len))
		return 0;
	if (rule->flags & RFM_FW_PROTOCOL && rule->protocol != packet->protocol &&
	    !(packet->hidden & RFM_FW_PROTOCOL && rule->action != RFM_FW_PASS))
		return 0;
	if (rule->flags & RFM_FW_PORTS && !rfm_fw_in_ports(packet, rule))
		return 0;
	return !rule->interfaces || rfm_fw_on_interface(packet, rule->interfaces);
}

static __always_inline void rfm_fw_count(void *set, const struct rfm_fw_counting *to, __u32 number,
					 int dropped)
{
	union rfm_fw_block *block = rfm_fw_block(set, to->counts + to->share + number / 2);
	struct rfm_fw_count *count;

	if (!block)
		return;
	count = &block->count[number & 1];
	rfm_add(&count->packets, 1, to->shared);
	rfm_add(&count->bytes, to->bytes, to->shared);
	if (dropped) {
		rfm_add(&count->dropped_packets, 1, to->shared);
		rfm_add(&count->dropped_bytes, to->bytes, to->shared);
	}
}

/* One rule of a chain. Non-zero ends the walk. */
static long rfm_fw_visit(__u32 step __attribute__((unused)), struct rfm_fw_packet *packet)
{
	__u32 number = packet->at - 1;
	const struct rfm_fw_rule *rule;
	union rfm_fw_block *block;

	if (!packet->at)
		return 1;
	block = rfm_fw_block(packet->set, packet->rules + number);
	if (!block)
		return 1;
	rule = &block->rule;
	packet->at = rule->next;
	if (number >= packet->best || (rule->action == RFM_FW_COUNT) != packet->counting)
		return 0;
	if (!rfm_fw_matches(packet, rule))
		return 0;
	if (packet->counting)
		rfm_fw_count(packet->set, &packet->to, number, 0);
	else
		packet->best = number;
	return 0;
}

static __always_inline void rfm_fw_walk(struct rfm_fw_packet *packet, __u32 link)
{
	if (!link)
		return;
	packet->at = link;
	bpf_loop(RFM_FW_MAX_CHAIN, rfm_fw_visit, packet, 0);
}

/* Takes a token. Zero if there is none. */
static __always_inline int rfm_fw_token(struct rfm_fw_limit *limit)
{
	__u64 now = bpf_ktime_get_ns() << RFM_FW_TIME_SHIFT;

#pragma unroll
	for (int i = 0; i < RFM_FW_LIMIT_TRIES; i++) {
		__u64 old = *(volatile __u64 *)&limit->full_at;
		__u64 from = old > now ? old : now;

		if (from - now > limit->tolerance)
			return 0;
		if (__sync_val_compare_and_swap(&limit->full_at, old, from + limit->interval) ==
		    old)
			return 1;
	}
	return 0;
}

/* Counts a packet for the rule that decided, and says what becomes of it. */
static __always_inline int rfm_fw_decide(struct rfm_fw_packet *packet)
{
	union rfm_fw_block *block = rfm_fw_block(packet->set, packet->rules + packet->best);
	int drop = 0;

	if (!block)
		return XDP_PASS;
	switch (block->rule.action) {
	case RFM_FW_DROP:
		drop = 1;
		break;
	case RFM_FW_LIMIT: {
		union rfm_fw_block *limit = rfm_fw_block(packet->set, block->rule.limit);

		drop = limit && !rfm_fw_token(&limit->limit);
		rfm_fw_count(packet->set, &packet->to, packet->best, drop);
		return drop ? XDP_DROP : XDP_PASS;
	}
	}
	rfm_fw_count(packet->set, &packet->to, packet->best, 0);
	return drop ? XDP_DROP : XDP_PASS;
}

#endif
