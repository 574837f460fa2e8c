/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The common part of the bench programs: map definitions, helpers by their number
 * (include/uapi/linux/bpf.h), and just enough of a parser.
 */
#ifndef RFM_BENCH_H
#define RFM_BENCH_H

#include "../../src/bpf/vmlinux.h"

#define SEC(name)	    __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __always_inline	    inline __attribute__((always_inline))

#define MAP_TYPE_PROG_ARRAY 3
#define MAP_TYPE_LRU_HASH   9

#define ETHERTYPE_IPV4	    0x0008 /* as it lies in the frame, read by a little-endian machine */
#define ETHERTYPE_IPV6	    0xdd86

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
					 __u64 flags) = (void *)2;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_tail_call)(void *ctx, void *map, __u32 index) = (void *)12;
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;

struct ipv4_frame {
	__u16 mac[6];
	__u16 ethertype;
	__u8 version;
	__u8 tos;
	__u16 length;
	__u32 id_and_offset;
	__u8 ttl;
	__u8 protocol;
	__u16 check;
	__u32 saddr;
	__u32 daddr;
	__u32 ports;
} __attribute__((packed));

struct ipv6_frame {
	__u16 mac[6];
	__u16 ethertype;
	__u32 version;
	__u16 length;
	__u8 protocol;
	__u8 hops;
	__u32 saddr[4];
	__u32 daddr[4];
	__u32 ports;
} __attribute__((packed));

#define SEQUENCE 262144

/*
 * The order of the flows, which userspace draws beforehand: the baseline of a program behind this
 * does not depend on the cost of the drawing.
 */
__u32 sequence[SEQUENCE] SEC(".data.sequence");
__u32 position;

static __always_inline __u32 next_flow(void)
{
	return sequence[position++ % SEQUENCE];
}

/* Sets the source address and ports of a flow in the frame; the checksums become wrong. */
static __always_inline void become(void *data, void *end, __u32 flow)
{
	struct ipv4_frame *four = data;
	struct ipv6_frame *six = data;
	__u32 address = 0x0a000000 | flow; /* not sorted: the low byte is the first on the wire */

	if ((void *)(four + 1) > end)
		return;
	if (four->ethertype == ETHERTYPE_IPV4) {
		four->saddr = address;
		four->ports = 0xbb010000 | (flow & 0xffff);
	} else if (four->ethertype == ETHERTYPE_IPV6 && (void *)(six + 1) <= end) {
		six->saddr[3] = address;
		six->ports = 0xbb010000 | (flow & 0xffff);
	}
}

#endif
