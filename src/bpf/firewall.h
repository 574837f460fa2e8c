/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A rule set as it lies in the kernel: one array map of blocks, so that one swap changes all of it.
 * Userspace writes a set before it is swapped in; then only counters and limits change, by programs.
 *
 * The number of a rule is its priority, first match first. An address leads to a link: to the rule that
 * decides, where that is known from the address alone, or to the chain of those rules that may match: the
 * rules of the longest prefix around it, those of the next longer, and so on.
 */
#ifndef RFM_FIREWALL_H
#define RFM_FIREWALL_H

/* Tables of prefixes: family * 2 + side; then that of the interfaces that rules name. */
enum rfm_fw_table_id {
	RFM_FW_SRC = 0,
	RFM_FW_DST = 1,
	RFM_FW_PREFIX_TABLES = 4,
	RFM_FW_INTERFACES = 4,
	RFM_FW_TABLES = 5,
};

enum rfm_fw_action {
	RFM_FW_DROP = 0,
	RFM_FW_PASS = 1,
	RFM_FW_COUNT = 2, /* and goes on to the next rule */
	RFM_FW_LIMIT = 3,
};

/* Flags of a set. */
#define RFM_FW_HAS_COUNT      1u	      /* some rule only counts */
#define RFM_FW_HAS_INTERFACES 2u	      /* some rule names interfaces */
#define RFM_FW_SHARED	      4u	      /* several CPUs add to one share of the counters */
#define RFM_FW_COARSE(table)  (8u << (table)) /* IPv6 prefixes shorter than 48 bits */

/* Flags of a rule. */
#define RFM_FW_PROTOCOL 1u
#define RFM_FW_PORTS	2u

/*
 * A link: the number of a rule plus one, 0 for none. With RFM_FW_DECIDED no rule of the chain can come
 * before this one, which matches whatever else is in the packet; its action is then known without a look
 * at the rule.
 */
#define RFM_FW_LINK_RULE(link)	 ((link)&0x0fffffff)
#define RFM_FW_LINK_ACTION(link) ((link) >> 28 & 3)
#define RFM_FW_DECIDED		 0x80000000u

/*
 * A tree of boundaries: the block of its root, and how many nodes lie above a leaf. 0: none. Of IPv4 there
 * may be one for each of the upper 12 bits of an address: then it is where the list of these trees begins.
 */
#define RFM_FW_TREE_ROOT(tree)	 ((tree)&0x00ffffff)
#define RFM_FW_TREE_LEVELS(tree) ((tree) >> 24 & 0xf)
#define RFM_FW_TREE_LIST	 0x80000000u

/* Block 0: what every packet reads. */
struct rfm_fw_head {
	__u32 filter[RFM_FW_PREFIX_TABLES]; /* first block of the bits; 0: no such rule */
	__u8 shift[RFM_FW_PREFIX_TABLES];   /* of a hash, to number a word */
	__u32 tree[RFM_FW_TABLES];
	__u32 wide; /* link to the chain of rules without a prefix */
	__u32 flags;
	__u32 rules;  /* first block */
	__u32 counts; /* first block */
	__u32 share;  /* blocks of one CPU's counters */
	__u32 cpu_mask;
};

/*
 * A tree is a B+-tree, a block for each node and leaf. Child `i` holds the keys up to last[i], the one
 * after them the rest; children lie side by side. What a node has no child for is all ones.
 */
struct rfm_fw_node4 {
	__u32 last[15];
	__u32 child; /* first block */
};

struct rfm_fw_node6 {
	__u64 last[7];
	__u32 child; /* first block */
	__u32 pad;
};

/* From `start` up to the next boundary, `link` holds. A leaf that is not full repeats its last. */
struct rfm_fw_bound4 {
	__u32 start;
	__u32 link; /* of the interfaces' table: the number of the interface plus one */
};

/* Of the upper half of an address. */
struct rfm_fw_bound6 {
	__u64 start;
	__u32 link;
	__u32 below; /* tree over the lower half, whose links hold instead; 0: none */
};

/* Addresses in host order, those of IPv4 in the upper half of the first word. */
struct rfm_fw_rule {
	__u64 src[2];
	__u64 dst[2];
	__u32 next;	  /* link, never decided */
	__u32 interfaces; /* first block of the bits of those that are meant; 0: all */
	__u32 limit;	  /* block */
	__u16 sport[2];	  /* first and last */
	__u16 dport[2];
	__u8 src_len;
	__u8 dst_len;
	__u8 family; /* RFM_IP_FAMILIES: any */
	__u8 protocol;
	__u8 action; /* enum rfm_fw_action */
	__u8 flags;
	__u8 pad[6];
};

/* Of one rule on one CPU. */
struct rfm_fw_count {
	__u64 packets;
	__u64 bytes;
};

/*
 * A token bucket as the time at which it would be full again (ITU-T I.371, the virtual scheduling form):
 * one word, so that it changes by one atomic operation. In units of 1/64 ns, that slow and fast rates
 * are exact.
 */
#define RFM_FW_TIME_SHIFT 6

struct rfm_fw_limit {
	__u64 full_at;
	__u64 interval; /* that one packet takes */
	__u64 tolerance;
	__u64 dropped_packets; /* of all CPUs; of those that the rule has counted */
	__u64 dropped_bytes;
	__u64 pad[3];
};

union rfm_fw_block {
	__u64 word[8];
	__u32 tree[16];
	struct rfm_fw_head head;
	struct rfm_fw_node4 node4;
	struct rfm_fw_node6 node6;
	struct rfm_fw_bound4 bound4[8];
	struct rfm_fw_bound6 bound6[4];
	struct rfm_fw_rule rule;
	struct rfm_fw_limit limit;
	struct rfm_fw_count count[4];
};

/* What a CPU keeps for itself. */
struct rfm_fw_cpu {
	__u32 countdown; /* dropped packets until the next record */
	__u32 pad;
	__u64 lost; /* records that found the ring full */
};

_Static_assert(sizeof(union rfm_fw_block) == 64, "a block is one cache line");
_Static_assert(sizeof(struct rfm_fw_head) == 64, "the head is one block");
_Static_assert(sizeof(struct rfm_fw_rule) == 64, "a rule is one block");
_Static_assert(sizeof(struct rfm_fw_node4) == 64, "a node is one block");
_Static_assert(sizeof(struct rfm_fw_node6) == 64, "a node is one block");
_Static_assert(sizeof(struct rfm_fw_bound6) == 16, "four to a block");

#endif
