/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Whose packet it is (slot), how much it stands for (segments), whether it is taken (countdown), and
 * the counters themselves.
 *
 * Exclusion: the programs run with bottom halves off on their CPU and do not nest, so that per-CPU
 * memory has one writer at a time and plain additions are exact. On PREEMPT_RT sections with bottom
 * halves off may preempt each other; there userspace sets rfm_atomic before the load, the verifier
 * drops the plain branch, and additions are atomic.
 */
#ifndef RFM_COUNT_BPF_H
#define RFM_COUNT_BPF_H

const volatile __u8 rfm_atomic = 0;

struct rfm_config rfm_config SEC(".data.rfm_config") = {
	.sample_rate = 100,
	.wakeup_batch = 64,
};

/* Userspace writes, programs read: ifindex to slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RFM_IFINDEX_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} rfm_slots SEC(".maps");

/* The same for the rare ifindex beyond the array. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} rfm_slots_high SEC(".maps");

/* Programs add, userspace reads; never zeroed. Two entries a slot: ingress, egress. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct rfm_counters);
} rfm_counters SEC(".maps");

/* Programs add, userspace reads; one entry for each enum rfm_parse_error. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RFM_PARSE_ERRORS);
	__type(key, __u32);
	__type(value, __u64);
} rfm_parse_errors SEC(".maps");

/* Programs and timers of a CPU write its own; userspace reads `armed` at the stop. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rfm_cpu);
} rfm_cpus SEC(".maps");

static __always_inline struct rfm_cpu *rfm_this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&rfm_cpus, &zero);
}

/*
 * What an skb stands for on the wire; a function returns or takes it as one word. A super-packet is
 * the segments that it will be cut into or was merged from, each with its own copy of the headers
 * and, where it is offloaded, of the VLAN tag.
 */
union rfm_wire {
	struct {
		__u32 packets;
		__u32 bytes;
	};
	__u64 word;
};

/* `shared`: the memory may have another writer at the same time, see above. */
static __always_inline void rfm_add(__u64 *counter, __u64 value, int shared)
{
	if (shared)
		__sync_fetch_and_add(counter, value);
	else
		*counter += value;
}

static __always_inline void rfm_count_add(struct rfm_count *count, union rfm_wire wire, int shared)
{
	rfm_add(&count->packets, wire.packets, shared);
	rfm_add(&count->bytes, wire.bytes, shared);
}

/* Apart from the array: one call for both maps could not be inlined by the verifier. */
static __noinline __u32 rfm_slot_high(__u32 ifindex)
{
	__u32 *slot = bpf_map_lookup_elem(&rfm_slots_high, &ifindex);

	return slot ? *slot : 0;
}

/* 0 if the interface is not watched. */
static __always_inline __u32 rfm_slot(__u32 ifindex)
{
	__u32 *slot = bpf_map_lookup_elem(&rfm_slots, &ifindex);

	return slot ? *slot : rfm_slot_high(ifindex);
}

static __always_inline struct rfm_counters *rfm_counters_of(__u32 slot, __u32 direction)
{
	__u32 index = slot * RFM_DIRECTIONS + direction;

	return bpf_map_lookup_elem(&rfm_counters, &index);
}

static __always_inline void rfm_count_parse_error(__u32 reason, int shared)
{
	__u64 *count = bpf_map_lookup_elem(&rfm_parse_errors, &reason);

	if (count)
		rfm_add(count, 1, shared);
}

/* Uniform on 1..2N-1, mean N: as random as need be not to fall in step with periodic traffic. */
static __always_inline __u32 rfm_draw_gap(__u32 rate)
{
	return 1 + bpf_get_prandom_u32() % (2 * (__u64)rate - 1);
}

/* Is this packet the one in N? The countdown is drawn again when the rate has changed. */
static __always_inline int rfm_is_taken(struct rfm_counters *counters, __u32 rate, int shared)
{
	if (rate <= 1)
		return rate;
	if (counters->countdown_rate != rate) {
		counters->countdown_rate = rate;
		counters->countdown = rfm_draw_gap(rate);
	}
	/*
	 * Not fetch-and-add, which kernels before 5.12 lack: where it is shared two programs may
	 * read the same value, which shifts one gap by one packet.
	 */
	if (shared)
		__sync_fetch_and_add(&counters->countdown, -1);
	else
		counters->countdown--;
	if ((__s32)counters->countdown > 0)
		return 0;
	counters->countdown = rfm_draw_gap(rate);
	return 1;
}

static __always_inline void rfm_wire_of_segments(union rfm_wire *wire, __u32 segments,
						 __u32 gso_size, __u32 len, __u32 tag_len,
						 __u32 header_len)
{
	/* gso_segs is 0 for packets that virtual machines and taps hand over */
	if (!segments) {
		segments = 1;
		if (len > header_len)
			segments = (len - header_len + gso_size - 1) / gso_size;
	}
	wire->packets = segments;
	wire->bytes = len + (segments - 1) * header_len + segments * tag_len;
}

#endif
