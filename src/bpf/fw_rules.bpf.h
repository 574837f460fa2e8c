/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From links to a verdict: the match with the lowest number decides, and those before it that only
 * count are counted.
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

/* Programs of a CPU write its own; userspace reads what is counted. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rfm_fw_cpu);
} rfm_fw_cpus SEC(".maps");

/* Programs write: when the bucket of a source would be full. Who has not been here for longest gives way. */
struct rfm_fw_source_table {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* userspace makes larger ones */
	__uint(key_size, sizeof(struct rfm_fw_source));
	__type(value, __u64);
};

/* For userspace, as rfm_fw_shape. */
const volatile struct rfm_fw_source rfm_fw_source_shape = {};

/* Userspace writes: the table, while there is a rule that needs it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct rfm_fw_source_table);
} rfm_fw_sources SEC(".maps");

/* A packet, as rules see it. */
struct rfm_fw_packet {
	void *set;
	__u64 src[2]; /* host order, as in a rule */
	__u64 dst[2];
	__u64 network;	 /* union rfm_network */
	__u32 start;	 /* enum rfm_fw_start */
	__u32 link[3];	 /* of the source, of the destination, of what has no prefix */
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
	__u8 action;   /* of the best */
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

static __always_inline void rfm_fw_count(void *set, const struct rfm_fw_counting *to, __u32 number)
{
	union rfm_fw_block *block = rfm_fw_block(set, to->counts + to->share + number / 4);
	struct rfm_fw_count *count;

	if (!block)
		return;
	count = &block->count[number & 3];
	rfm_add(&count->packets, 1, to->shared);
	rfm_add(&count->bytes, to->bytes, to->shared);
}

static __always_inline void rfm_fw_take(struct rfm_fw_packet *packet, __u32 number, __u8 action)
{
	packet->best = number;
	packet->action = action;
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
		rfm_fw_count(packet->set, &packet->to, number);
	else
		rfm_fw_take(packet, number, rule->action);
	return 0;
}

static __always_inline void rfm_fw_walk(struct rfm_fw_packet *packet, __u32 link)
{
	packet->at = RFM_FW_LINK_RULE(link);
	if (packet->at)
		bpf_loop(RFM_FW_MAX_CHAIN, rfm_fw_visit, packet, 0);
}

/* Walks every chain that may hold a match. */
static __always_inline void rfm_fw_walk_all(struct rfm_fw_packet *packet)
{
	rfm_fw_walk(packet, packet->link[0]);
	rfm_fw_walk(packet, packet->link[1]);
	rfm_fw_walk(packet, packet->link[2]);
}

static __always_inline int rfm_fw_is_decided(__u32 link)
{
	return !link || link & RFM_FW_DECIDED;
}

/* Is each link decided? Then the first of them is the best, and none that only counts comes before it. */
static __always_inline int rfm_fw_is_known(struct rfm_fw_packet *packet)
{
	if (!rfm_fw_is_decided(packet->link[0]) || !rfm_fw_is_decided(packet->link[1]) ||
	    !rfm_fw_is_decided(packet->link[2]))
		return 0;
#pragma unroll
	for (int i = 0; i < 3; i++) {
		__u32 link = packet->link[i];

		if (link && RFM_FW_LINK_RULE(link) - 1 < packet->best)
			rfm_fw_take(packet, RFM_FW_LINK_RULE(link) - 1, RFM_FW_LINK_ACTION(link));
	}
	return 1;
}

/* Takes a token of a bucket. Zero if there is none. */
static __always_inline int rfm_fw_token(const struct rfm_fw_limit *limit, __u64 *full_at)
{
	__u64 now = bpf_ktime_get_ns() << RFM_FW_TIME_SHIFT;

#pragma unroll
	for (int i = 0; i < RFM_FW_LIMIT_TRIES; i++) {
		__u64 old = *(volatile __u64 *)full_at;
		__u64 from = old > now ? old : now;

		if (from - now > limit->tolerance)
			return 0;
		if (__sync_val_compare_and_swap(full_at, old, from + limit->interval) == old)
			return 1;
	}
	return 0;
}

/* The bucket of the packet's source; a new one is full. */
static __always_inline __u64 *rfm_fw_source_bucket(const struct rfm_fw_packet *packet, __u32 rule)
{
	struct rfm_fw_source source = {
		.network = packet->src[0], .rule = rule, .family = packet->family};
	void *sources = bpf_map_lookup_elem(&rfm_fw_sources, &(__u32){0});
	struct rfm_fw_cpu *cpu;
	__u64 *bucket;

	if (!sources)
		return 0;
	bucket = bpf_map_lookup_elem(sources, &source);
	if (bucket)
		return bucket;
	cpu = bpf_map_lookup_elem(&rfm_fw_cpus, &(__u32){0});
	if (cpu)
		cpu->new_sources++;
	bpf_map_update_elem(sources, &source, &(__u64){0}, BPF_NOEXIST);
	return bpf_map_lookup_elem(sources, &source);
}

/* Does the limit of a rule drop this packet? */
static __noinline int rfm_fw_is_over(const struct rfm_fw_packet *packet)
{
	union rfm_fw_block *block = rfm_fw_block(packet->set, packet->rules + packet->best);
	__u64 *full_at;

	if (block)
		block = rfm_fw_block(packet->set, block->rule.limit);
	if (!block)
		return 0;
	full_at = &block->limit.full_at;
	if (block->limit.per_source)
		full_at = rfm_fw_source_bucket(packet, block->limit.rule);
	if (!full_at || rfm_fw_token(&block->limit, full_at))
		return 0;
	rfm_add(&block->limit.dropped_packets, 1, 1);
	rfm_add(&block->limit.dropped_bytes, packet->to.bytes, 1);
	return 1;
}

/* Counts a packet for the rule that decided, and says what becomes of it. */
static __always_inline int rfm_fw_decide(struct rfm_fw_packet *packet)
{
	int drop = packet->action == RFM_FW_DROP;

	if (packet->best == RFM_FW_NO_RULE)
		return XDP_PASS;
	rfm_fw_count(packet->set, &packet->to, packet->best);
	if (packet->action == RFM_FW_LIMIT)
		drop = rfm_fw_is_over(packet);
	return drop ? XDP_DROP : XDP_PASS;
}

#endif
