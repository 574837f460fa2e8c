/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Types shared by the kernel and the user side. Rust takes them from BTF (see build.rs), so they
 * are written once, here, with explicit padding and without bool, bit-fields or pointers.
 */
#ifndef RFM_H
#define RFM_H

enum rfm_direction {
	RFM_INGRESS = 0,
	RFM_EGRESS = 1,
	RFM_DIRECTIONS = 2,
};

enum rfm_family {
	RFM_IPV4 = 0,
	RFM_IPV6 = 1,
	RFM_IP_FAMILIES = 2, /* those that have flows */
	RFM_OTHER = 2,
	RFM_FAMILIES = 3,
};

/* Why a frame that should have held an IP header was counted as `other`. */
enum rfm_parse_error {
	RFM_ERR_LINK = 0, /* Ethernet, VLAN, MPLS or PPPoE header cut short */
	RFM_ERR_IP_VERSION = 1,
	RFM_ERR_IP_HEADER_LENGTH = 2,
	RFM_ERR_IP_TRUNCATED = 3,
	RFM_PARSE_ERRORS = 4,
};

/* Behaviour that userspace may change at any time; the next packet obeys. */
struct rfm_config {
	__u32 sample_rate; /* 1 in N; 0 takes nothing */
	__u32 flags;
	__u32 wakeup_batch; /* wake the reader after so many records of one CPU */
	__u32 stopping;	    /* each timer of the flow cache sweeps all and ends */
};

/* Thread ring's word on itself. */
struct rfm_reader {
	__u32 polling; /* it comes back by itself within a fraction of a millisecond: no wakeups */
	__u32 pad;
};

/* Value of rfm_slots and rfm_slots_high: the slot number plus one (0: not watched), and flags. */
#define RFM_SLOT_MASK 0xffffu
#define RFM_SLOT_L3   (1u << 31) /* the device has no link layer header */
#define RFM_SLOT_GRE  (1u << 30) /* what comes in has outer headers in front */

/* ifindexes below this are looked up in an array, the others in a hash table. */
#define RFM_IFINDEX_ARRAY 65536

struct rfm_count {
	__u64 packets; /* segments of super-packets */
	__u64 bytes;   /* L2 frames without FCS */
};

/*
 * Counters of one slot and direction on one CPU. The reader copies from low to high addresses, the
 * program counts crossed, taken, lost in this order: what is read of lost is never newer than taken.
 */
struct rfm_counters {
	__u64 lost_records;
	struct rfm_count lost[RFM_IP_FAMILIES];
	struct rfm_count taken[RFM_IP_FAMILIES];
	__u32 countdown;      /* packets until the next is taken */
	__u32 countdown_rate; /* the rate under which it was drawn */
	struct rfm_count crossed[RFM_FAMILIES];
};

/* What makes a flow; 48 bytes, which the programs handle as the words of struct rfm_key. */
struct rfm_flow_key {
	__u8 src[16]; /* wire order; IPv4 in the first four bytes, the rest zero */
	__u8 dst[16];
	__u32 slot;
	__u16 src_port;	  /* network order */
	__u16 dst_port;	  /* network order; ICMP: type, code */
	__u16 vlan_outer; /* ids in host order, 0: none */
	__u16 vlan_inner;
	__u8 protocol;
	__u8 direction;
	__u8 family;
	__u8 pad;
};

/* One measured piece of a flow, as it goes through the ring. */
struct rfm_flow_record {
	struct rfm_flow_key key;
	__u64 packets;
	__u64 bytes;  /* L2 frames without FCS */
	__u64 octets; /* by the IP length fields */
	__u64 first;  /* CLOCK_BOOTTIME, ns */
	__u64 last;
	__u32 sample_rate;
	__u32 ingress_ifindex; /* at egress: where a forwarded packet came from; else 0 */
	__u8 src_mac[6];       /* of the first packet; zero on L3 devices */
	__u8 dst_mac[6];
	__u8 tcp_flags; /* OR of all */
	__u8 tos;	/* of the first packet */
	__u8 pad[2];
};

/* What a CPU keeps for itself. */
struct rfm_cpu {
	__u64 tick;    /* jiffies when tick_ns was read */
	__u64 tick_ns; /* CLOCK_BOOTTIME */
	__u32 unwoken; /* records sent since the reader was last woken */
	__u32 armed;   /* the sweep of this CPU's flow cache will run */
	__u32 base;    /* of its sets in rfm_cache */
	__u32 slice;   /* next to be swept */
	__u32 found;   /* records met in this round */
	__u32 pad;
};

#endif
