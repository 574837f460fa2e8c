/* SPDX-License-Identifier: GPL-2.0 */
/*
 * struct rfm_flow_key as six words in registers. Written member by member and read back as words, the
 * key would cost more than the rest of the flow cache: a load that spans several stores waits until
 * they have left the store buffer.
 */
#ifndef RFM_KEY_BPF_H
#define RFM_KEY_BPF_H

#define RFM_KEY_WORDS 6

struct rfm_key {
	__u64 word[RFM_KEY_WORDS];
};

_Static_assert(sizeof(struct rfm_key) == sizeof(struct rfm_flow_key), "the key is its words");
_Static_assert(__builtin_offsetof(struct rfm_flow_key, slot) == 32, "word 4: slot, ports");
_Static_assert(__builtin_offsetof(struct rfm_flow_key, vlan_outer) == 40,
	       "word 5: VLANs, protocol");

/* Two halves, the first at the lower address. */
static __always_inline __u64 rfm_join(__u32 first, __u32 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return first | (__u64)second << 32;
#else
	return second | (__u64)first << 32;
#endif
}

static __always_inline __u32 rfm_join16(__u16 first, __u16 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return first | (__u32)second << 16;
#else
	return second | (__u32)first << 16;
#endif
}

static __always_inline __u16 rfm_join8(__u8 first, __u8 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return first | (__u16)second << 8;
#else
	return second | (__u16)first << 8;
#endif
}

static __always_inline void rfm_key_copy(struct rfm_flow_key *to, const struct rfm_key *key)
{
#pragma unroll
	for (int i = 0; i < RFM_KEY_WORDS; i++)
		((__u64 *)to)[i] = key->word[i];
}

static __always_inline int rfm_key_equal(const struct rfm_flow_key *a, const struct rfm_key *key)
{
	const __u64 *word = (const __u64 *)a;
	__u64 difference = 0;

#pragma unroll
	for (int i = 0; i < RFM_KEY_WORDS; i++)
		difference |= word[i] ^ key->word[i];
	return !difference;
}

#endif
