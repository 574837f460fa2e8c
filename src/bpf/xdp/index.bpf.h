/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Finds the rules without a prefix that match a packet, by vectors with a bit for each rule (firewall.h): the cost
 * depends on the number of fields that rules name, and hardly on the number of rules or of values in their lists.
 */
#ifndef RFM_FW_INDEX_BPF_H
#define RFM_FW_INDEX_BPF_H

/* For userspace, as rfm_fw_shape. */
const volatile struct rfm_fw_index rfm_fw_index_shape = {};

/* The groups of an index. */
struct rfm_fw_index_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__type(key, __u32);
	__uint(value_size, RFM_FW_INDEX_BYTES);
};

/* Userspace writes a slot before the set that names it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, RFM_FW_INDEX_SLOTS);
	__type(key, __u32);
	__array(values, struct rfm_fw_index_map);
} rfm_fw_indexes SEC(".maps");

/* The number of the lowest bit by its product with a de Bruijn sequence (Leiserson, Prokop and Randall, 1998). */
#define RFM_FW_DE_BRUIJN 0x03f79d71b4cb0a89ULL
static const __u8 rfm_fw_bit_numbers[64] = {
	0,  1,	48, 2,	57, 49, 28, 3,	61, 58, 50, 42, 38, 29, 17, 4,	62, 55, 59, 36, 53, 51,
	43, 22, 45, 39, 33, 30, 24, 18, 12, 5,	63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21,
	44, 32, 23, 11, 46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9,	13, 8,	7,  6,
};

static __always_inline __u32 rfm_fw_lowest_bit(__u64 bits)
{
	return rfm_fw_bit_numbers[((bits & -bits) * RFM_FW_DE_BRUIJN) >> 58];
}

/* Returns the bytes of a reference from `at` on. The mask is for the verifier. */
static __always_inline const void *rfm_fw_unit(const struct rfm_fw_index *index, __u32 reference,
					       __u32 at, __u32 size)
{
	__u32 offset = (reference << RFM_FW_UNIT_SHIFT) + at;

	barrier_var(offset);
	return (const void *)index + (offset & (RFM_FW_INDEX_BYTES - size));
}

/* Returns the vector of the rules that accept a value of a field. */
static __always_inline const __u64 *rfm_fw_vector(const struct rfm_fw_index *index, __u32 pages,
						  __u32 value)
{
	__u32 page, vector;

	page = *(const __u16 *)rfm_fw_unit(index, pages, 2 * RFM_FW_VALUE_PAGE(value), 2);
	vector = *(const __u16 *)rfm_fw_unit(index, page, 2 * (value & 63), 2);
	return rfm_fw_unit(index, vector, 0, 1 << RFM_FW_UNIT_SHIFT);
}

/* A bit for each rule of a group. */
struct rfm_fw_bits {
	__u64 word[RFM_FW_VECTOR_WORDS];
};

/* Removes the rules that do not accept the value of a field. */
static __always_inline void rfm_fw_match_field(const struct rfm_fw_index *index,
					       const struct rfm_fw_values *values, __u32 field,
					       struct rfm_fw_bits *match)
{
	const __u64 *vector, *other;
	__u32 pages = index->pages[field];

	if (!pages)
		return;
	if (field == RFM_FW_PORT) {
		vector = rfm_fw_vector(index, pages, values->of[RFM_FW_SPORT]);
		other = rfm_fw_vector(index, pages, values->of[RFM_FW_DPORT]);
#pragma unroll
		for (int n = 0; n < RFM_FW_VECTOR_WORDS; n++)
			match->word[n] &= vector[n] | other[n];
		return;
	}
	vector = rfm_fw_vector(index, pages, values->of[field]);
#pragma unroll
	for (int n = 0; n < RFM_FW_VECTOR_WORDS; n++)
		match->word[n] &= vector[n];
}

/* The state of a search through the groups. */
struct rfm_fw_search {
	struct rfm_fw_packet *packet;
	void *groups;
	const struct rfm_fw_index *index; /* of the current group */
	struct rfm_fw_bits match;	  /* its rules that only count and are not yet counted */
	__u16 word;  /* in which they are counted; RFM_FW_VECTOR_WORDS: there are none */
	__u16 group; /* the next one */
	__u16 last;  /* number of groups; 0: none follows */
};

static __always_inline __u32 rfm_fw_link_at(const struct rfm_fw_index *index, __u32 word,
					    __u64 bits)
{
	__u32 bit = word * 64 + rfm_fw_lowest_bit(bits);

	return *(const __u32 *)rfm_fw_unit(index, index->links, 4 * bit, 4);
}

/* Counts a rule of the current group, or continues with the next word. Non-zero ends the search. */
static __always_inline long rfm_fw_count_next(struct rfm_fw_search *search, __u32 word)
{
	__u64 bits = search->match.word[word];
	__u32 number;

	if (!bits) {
		search->word = word + 1;
		return 0;
	}
	search->match.word[word] = bits & (bits - 1);
	number = RFM_FW_LINK_RULE(rfm_fw_link_at(search->index, word, bits)) - 1;
	if (number >= search->packet->best)
		return 1;
	rfm_fw_count(search->packet->set, &search->packet->counters, number);
	return 0;
}

/* Evaluates the next group. Non-zero ends the search. */
static __always_inline long rfm_fw_match_group(struct rfm_fw_search *search)
{
	__u32 group = search->group, word = 0;
	const struct rfm_fw_index *index = search->index;
	__u64 bits = 0, counting = 0;

	if (group)
		index = bpf_map_lookup_elem(search->groups, &group);
	if (!index)
		return 1;
	search->index = index;
	search->group = group + 1;
#pragma unroll
	for (int n = 0; n < RFM_FW_VECTOR_WORDS; n++)
		search->match.word[n] = index->all[n];
#pragma unroll
	for (int first = 0; first < RFM_FW_INDEX_FIELDS; first += 4) {
		/* four references at once: most rules name few fields */
		if (!*(const __u64 *)&index->pages[first])
			continue;
#pragma unroll
		for (int n = 0; n < 4; n++)
			rfm_fw_match_field(index, &search->packet->values, first + n,
					   &search->match);
	}
#pragma unroll
	for (int n = RFM_FW_VECTOR_WORDS - 1; n >= 0; n--) {
		__u64 decide = search->match.word[n] & ~index->count_only[n];

		search->match.word[n] &= index->count_only[n];
		counting |= search->match.word[n];
		if (decide) {
			bits = decide;
			word = n;
		}
		/* otherwise the compiler reads all words first, and spills them to the stack */
		barrier();
	}
	word = rfm_forget_always(word, search->packet->counters.bytes);
	if (bits) {
		rfm_fw_apply_link(search->packet, rfm_fw_link_at(index, word, bits));
		search->last = 0;
	}
	if (!counting)
		return search->group >= search->last;
	search->word = 0;
	return 0;
}

/* Non-zero ends the search. In one loop, which the verifier follows once. */
static long rfm_fw_search_next(__u32 iteration __attribute__((unused)),
			       struct rfm_fw_search *search)
{
	__u32 word = search->word;

	if (word < RFM_FW_VECTOR_WORDS)
		return rfm_fw_count_next(search, word);
	if (search->group >= search->last)
		return 1;
	return rfm_fw_match_group(search);
}

/*
 * Evaluates the rules without a prefix: sets the best, and counts those before it that only count. Before Linux 6.7
 * the verifier follows a callback only with the state of its first call, which therefore begins with values that it
 * does not know, and with a valid group.
 */
static __noinline int rfm_fw_match_index(struct rfm_fw_packet *packet)
{
	__u32 no_prefix = packet->link[2], slot = RFM_FW_INDEX_SLOT(no_prefix);
	__u32 noise = packet->counters.bytes;
	__u64 zero = rfm_forget_always(0, noise);
	struct rfm_fw_search search = {
		.packet = packet,
		.word = rfm_forget_always(RFM_FW_VECTOR_WORDS, noise),
		.group = zero,
		.last = RFM_FW_INDEX_GROUPS(no_prefix),
	};

	search.groups = bpf_map_lookup_elem(&rfm_fw_indexes, &slot);
	if (!search.groups)
		return 0;
	search.index = bpf_map_lookup_elem(search.groups, &(__u32){0});
	if (!search.index)
		return 0;
#pragma unroll
	for (int n = 0; n < RFM_FW_VECTOR_WORDS; n++)
		search.match.word[n] = zero;
	bpf_loop(RFM_FW_MAX_GROUPS * (RFM_FW_GROUP_RULES + RFM_FW_VECTOR_WORDS + 2),
		 rfm_fw_search_next, &search, 0);
	return 0;
}

#endif
