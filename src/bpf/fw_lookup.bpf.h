/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From an address to its chain of rules. First some bits say whether any prefix may hold the address: for
 * most packets none does, and what these cost is what the firewall costs. Then a search over the
 * boundaries between prefixes: it does not depend on how many lengths are in use, nor on what nests.
 */
#ifndef RFM_FW_LOOKUP_BPF_H
#define RFM_FW_LOOKUP_BPF_H

/* Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4). */
#define RFM_FW_HASH 0x9e3779b97f4a7c15ULL

/* 2^24 boundaries are more than any set has. */
#define RFM_FW_SEARCH_STEPS 24

/* Tells the /32 of an IPv6 address from its /48 in one filter. */
#define RFM_FW_COARSE_KEY (1ULL << 48)

/* For userspace, whose types are those of global variables and of maps that are not in a map. */
const volatile union rfm_fw_block rfm_fw_shape = {};

/* Userspace swaps, programs read: the rule set in force. */
struct rfm_fw_set {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, union rfm_fw_block);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct rfm_fw_set);
} rfm_fw_sets SEC(".maps");

static __always_inline union rfm_fw_block *rfm_fw_block(void *set, __u32 at)
{
	return bpf_map_lookup_elem(set, &at);
}

/* A Bloom filter whose bits for one key lie in one word: one line of the cache is read. */
static __always_inline int rfm_fw_bit(void *set, const struct rfm_fw_head *head, __u32 table,
				      __u64 key)
{
	__u64 hash = key * RFM_FW_HASH;
	__u64 word = hash >> (head->shift[table] & 63);
	__u64 bits =
		1ULL << (hash >> 40 & 63) | 1ULL << (hash >> 34 & 63) | 1ULL << (hash >> 28 & 63);
	const union rfm_fw_block *block = rfm_fw_block(set, head->filter[table] + (word >> 3));

	return block && (block->word[word & 7] & bits) == bits;
}

/* May a prefix of this table hold the address, whose first half is given? */
static __always_inline int rfm_fw_may_match(void *set, const struct rfm_fw_head *head, __u32 table,
					    __u64 address)
{
	if (!head->filter[table])
		return 0;
	if (table < RFM_IPV6 * 2)
		return rfm_fw_bit(set, head, table, address >> 40);
	if (rfm_fw_bit(set, head, table, address >> 16))
		return 1;
	return head->flags & RFM_FW_COARSE(table) &&
	       rfm_fw_bit(set, head, table, address >> 32 | RFM_FW_COARSE_KEY);
}

/* The last boundary at or below the key lies in [low, low + len). */
struct rfm_fw_search {
	void *set;
	__u64 key[2];
	__u32 first;
	__u32 low;
	__u32 len;
	__u32 pad;
};

static long rfm_fw_step4(__u32 step __attribute__((unused)), struct rfm_fw_search *search)
{
	__u32 half = search->len / 2;
	__u32 at = search->low + half;
	const union rfm_fw_block *block;

	if (!half)
		return 1;
	block = rfm_fw_block(search->set, search->first + at / 8);
	if (!block)
		return 1;
	if (block->bound4[at & 7].start <= (__u32)search->key[0])
		search->low = at;
	search->len -= half;
	return 0;
}

static long rfm_fw_step6(__u32 step __attribute__((unused)), struct rfm_fw_search *search)
{
	__u32 half = search->len / 2;
	__u32 at = search->low + half;
	const struct rfm_fw_bound6 *bound;
	const union rfm_fw_block *block;

	if (!half)
		return 1;
	block = rfm_fw_block(search->set, search->first + at / 2);
	if (!block)
		return 1;
	bound = &block->bound6[at & 1];
	if (bound->start[0] < search->key[0] ||
	    (bound->start[0] == search->key[0] && bound->start[1] <= search->key[1]))
		search->low = at;
	search->len -= half;
	return 0;
}

static __always_inline __u32 rfm_fw_position(void *set, __u32 first, __u32 at)
{
	const union rfm_fw_block *block = rfm_fw_block(set, first + at / 16);

	return block ? block->position[at & 15] : 0;
}

/* The link at a key of 32 bits. */
static __always_inline __u32 rfm_fw_find4(void *set, const struct rfm_fw_table *table, __u32 key)
{
	struct rfm_fw_search search = {
		.set = set, .key = {key}, .first = table->first, .len = table->count};
	const union rfm_fw_block *block;

	if (table->index) {
		search.low = rfm_fw_position(set, table->index, key >> 16);
		search.len = rfm_fw_position(set, table->index, (key >> 16) + 1) - search.low + 1;
	}
	bpf_loop(RFM_FW_SEARCH_STEPS, rfm_fw_step4, &search, 0);
	block = rfm_fw_block(set, search.first + search.low / 8);
	return block ? block->bound4[search.low & 7].link : 0;
}

static __always_inline __u32 rfm_fw_find6(void *set, const struct rfm_fw_table *table,
					  const __u64 key[2])
{
	struct rfm_fw_search search = {
		.set = set, .key = {key[0], key[1]}, .first = table->first, .len = table->count};
	const union rfm_fw_block *block;

	bpf_loop(RFM_FW_SEARCH_STEPS, rfm_fw_step6, &search, 0);
	block = rfm_fw_block(set, search.first + search.low / 2);
	return block ? block->bound6[search.low & 1].link : 0;
}

#endif
