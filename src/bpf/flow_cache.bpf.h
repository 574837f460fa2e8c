/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The flow cache: per CPU, a set-associative array of flow records that combines writes. A packet
 * whose flow is there is added in place; one that is not sends the older record of its set to the
 * ring and takes its place. A timer on each CPU sends what is left, so that no record is older than
 * about a second.
 *
 * Exclusion: everything here runs with bottom halves off on the CPU it belongs to. TC programs run
 * so, at ingress in softirq and at egress under rcu_read_lock_bh (net/core/dev.c); a BPF timer runs in
 * the softirq of the CPU that it is pinned to (kernel/bpf/helpers.c). None nests in another, so
 * records need no lock. On PREEMPT_RT this does not hold, and this file is not used there.
 */
#ifndef RFM_FLOW_CACHE_BPF_H
#define RFM_FLOW_CACHE_BPF_H

#define CLOCK_MONOTONIC	 1

#define RFM_WAYS	 2
#define RFM_SWEEP_SLICES 16 /* a slice each sixteenth of a second */
#define RFM_SWEEP_NS	 (1000000000ULL / RFM_SWEEP_SLICES)
#define RFM_RETRY_NS	 2000000ULL

/* Sets per CPU and how far a hash is shifted to number one: a power of two, set before the load. */
const volatile __u32 rfm_cache_sets = 4096;
const volatile __u32 rfm_set_shift = 64 - 12;

/* Keys of the hash, odd, drawn at each start: who does not know them cannot aim at one set. */
const volatile __u64 rfm_hash_keys[RFM_KEY_WORDS] = {1, 1, 1, 1, 1, 1};

/* 128 bytes, two cache lines: what a hit touches lies in front. Empty where the rate is 0. */
struct rfm_cache_entry {
	struct rfm_flow_record record;
	__u64 pad[2];
};

struct rfm_cache_set {
	struct rfm_cache_entry way[RFM_WAYS];
};

/* Programs and timers of one CPU write its part; index: CPU * rfm_cache_sets + set. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rfm_cache_set);
} rfm_cache SEC(".maps");

struct rfm_sweep {
	struct bpf_timer timer;
};

/* One timer for each possible CPU; started by that CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rfm_sweep);
} rfm_sweeps SEC(".maps");

/*
 * CLOCK_BOOTTIME, true to a tick: a precise reading costs 30 ns on a virtual machine, so that it is
 * taken once for each tick in which packets come.
 */
static __always_inline __u64 rfm_coarse_ns(struct rfm_cpu *cpu)
{
	__u64 tick = bpf_jiffies64();

	if (cpu->tick != tick) {
		cpu->tick = tick;
		cpu->tick_ns = bpf_ktime_get_boot_ns();
	}
	return cpu->tick_ns;
}

/*
 * Multiply-shift hashing of the key's words (Dietzfelbinger et al., 1997): with random odd keys the
 * sums of two flows are equal with no more than chance, whatever somebody sends who does not know the
 * keys. But it is linear, and addresses and ports come in sequence, which for some keys would fill a
 * few sets and leave others empty: one more round of mixing breaks the sequence. One word holds both
 * addresses of IPv4.
 */
static __always_inline __u32 rfm_set_of(const struct rfm_key *key, __u32 family)
{
	__u64 sum = rfm_hash_keys[4] * key->word[4] + rfm_hash_keys[5] * key->word[5];

	if (family == RFM_IPV4)
		sum += rfm_hash_keys[0] * (key->word[0] << 32 | key->word[2]);
	else
		sum += rfm_hash_keys[0] * key->word[0] + rfm_hash_keys[1] * key->word[1] +
		       rfm_hash_keys[2] * key->word[2] + rfm_hash_keys[3] * key->word[3];
	sum ^= sum >> 32;
	return sum * rfm_hash_keys[1] >> rfm_set_shift;
}

/* Sends a record and forgets it. Returns non-zero, the record kept, where the ring is full. */
static __always_inline int rfm_evict(struct rfm_cache_entry *entry, __u64 flags)
{
	struct rfm_flow_record *rec = bpf_ringbuf_reserve(&rfm_ring, sizeof(*rec), 0);

	if (!rec)
		return -1;
	*rec = entry->record;
	entry->record.sample_rate = 0;
	bpf_ringbuf_submit(rec, flags);
	return 0;
}

struct rfm_slice {
	struct rfm_cpu *cpu;
	__u32 base;
	__u32 found; /* records that were there */
	__u32 full;  /* the ring had no room for one */
};

static __always_inline void rfm_sweep_entry(struct rfm_cache_entry *entry, struct rfm_slice *slice)
{
	if (!entry->record.sample_rate)
		return;
	slice->found++;
	if (rfm_evict(entry, rfm_wakeup_flags(slice->cpu)))
		slice->full = 1;
}

/* Non-zero ends the loop. */
static long rfm_sweep_set(__u32 index, struct rfm_slice *slice)
{
	__u32 at = slice->base + index;
	struct rfm_cache_set *set = bpf_map_lookup_elem(&rfm_cache, &at);

	if (set) {
		rfm_sweep_entry(&set->way[0], slice);
		rfm_sweep_entry(&set->way[1], slice);
	}
	return slice->full;
}

/* Wakes the reader for less than a batch: a discarded record is skipped, its flags count. */
static __always_inline void rfm_wake(struct rfm_cpu *cpu)
{
	void *nothing;

	cpu->unwoken = 0;
	if (rfm_reader.polling)
		return;
	nothing = bpf_ringbuf_reserve(&rfm_ring, 8, 0);
	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
}

/* The timer of one CPU, named by the key. It ends when a whole round finds nothing. */
static int rfm_sweep(void *map __attribute__((unused)), __u32 *key, struct rfm_sweep *sweep)
{
	struct rfm_cpu *cpu = bpf_map_lookup_percpu_elem(&rfm_cpus, &(__u32){0}, *key);
	__u32 count = rfm_cache_sets / RFM_SWEEP_SLICES;
	struct rfm_slice slice = {.cpu = cpu};
	__u64 delay = RFM_SWEEP_NS;

	if (!cpu)
		return 0;
	/*
	 * Hotplug moves the timers of a CPU that leaves. Its records wait for it: when it is back, its
	 * next packet arms the timer again.
	 */
	if (bpf_get_smp_processor_id() != *key) {
		cpu->armed = 0;
		return 0;
	}
	slice.base = cpu->base;
	if (rfm_config.stopping) {
		/* what finds no room is read by userspace from the map */
		bpf_loop(rfm_cache_sets, rfm_sweep_set, &slice, 0);
		rfm_wake(cpu);
		cpu->armed = 0;
		return 0;
	}
	slice.base += cpu->slice * count;
	bpf_loop(count, rfm_sweep_set, &slice, 0);
	cpu->found += slice.found;
	if (slice.full) {
		delay = RFM_RETRY_NS; /* the same slice again, when the reader had its turn */
	} else if (++cpu->slice >= RFM_SWEEP_SLICES) {
		__u32 found = cpu->found;

		cpu->slice = 0;
		cpu->found = 0;
		if (cpu->unwoken)
			rfm_wake(cpu);
		if (!found) {
			cpu->armed = 0;
			return 0;
		}
	}
	bpf_timer_start(&sweep->timer, delay, BPF_F_TIMER_CPU_PIN);
	return 0;
}

/* Starts this CPU's timer. What cannot fail after the probe of the load is not checked again. */
static __noinline int rfm_arm(struct rfm_cpu *cpu)
{
	__u32 id = bpf_get_smp_processor_id();
	struct rfm_sweep *sweep = bpf_map_lookup_elem(&rfm_sweeps, &id);

	if (!sweep)
		return -1;
	cpu->armed = 1;
	cpu->slice = 0;
	cpu->found = 0;
	cpu->base = id * rfm_cache_sets;
	bpf_timer_init(&sweep->timer, &rfm_sweeps, CLOCK_MONOTONIC); /* -EBUSY: was done before */
	bpf_timer_set_callback(&sweep->timer, rfm_sweep);
	return bpf_timer_start(&sweep->timer, RFM_SWEEP_NS, BPF_F_TIMER_CPU_PIN);
}

static __always_inline int rfm_hit(const struct rfm_cache_entry *entry, const struct rfm_key *key,
				   __u32 rate)
{
	return entry->record.sample_rate == rate && rfm_key_equal(&entry->record.key, key);
}

/*
 * The record of a flow if this CPU has it, else the place for it: an empty one, or that of the record
 * of its set that was silent longest, which is sent. NULL where the ring is full: then the new packet
 * is what is lost, not the many of a record.
 */
static __always_inline struct rfm_cache_entry *
rfm_cache_place(struct rfm_cpu *cpu, const struct rfm_key *key, __u32 family, __u32 rate)
{
	__u32 at = cpu->base + rfm_set_of(key, family);
	struct rfm_cache_set *set = bpf_map_lookup_elem(&rfm_cache, &at);
	struct rfm_cache_entry *a, *b;

	if (!set)
		return 0;
	a = &set->way[0];
	b = &set->way[1];
	if (rfm_hit(a, key, rate))
		return a;
	if (rfm_hit(b, key, rate))
		return b;
	if (!a->record.sample_rate)
		return a;
	if (b->record.sample_rate && a->record.last < b->record.last)
		b = a;
	if (b->record.sample_rate && rfm_evict(b, rfm_wakeup_flags(cpu)))
		return 0;
	return b;
}

#endif
