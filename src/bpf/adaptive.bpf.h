/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Adaptive sampling of new records. While the ring is more than half full, a packet that has no record starts one
 * with probability 1/k, and is then counted k times; the other packets of the record are counted once, as always
 * (sample and hold: Estan and Varghese, SIGCOMM 2002). Whatever happened before, a packet adds 1 on average.
 * Therefore every sum is unbiased, however often records are evicted and started again and however k changes, if
 * k is chosen before the draw. If the whole record were counted k times, sums would be too high: a packet that
 * starts no record leaves the next packet of its flow another chance.
 *
 * The variance of a sum is the sum of k (k - 1) x^2 over the records, where x is what their first packets carried.
 * There is a draw for each packet: a gap to the next record would be biased whenever k changes.
 */
#ifndef RFM_ADAPTIVE_BPF_H
#define RFM_ADAPTIVE_BPF_H

/* log2 of the bytes of the ring; set before the load. */
const volatile __u32 rfm_ring_shift = 18;

/* 32nds of the ring: above this k grows. */
#define RFM_HALF_FULL 16
/* A lower peak lets the floor of k fall. */
#define RFM_QUARTER_FULL 8

/* Records between two readings of the fill level; a power of two. */
#define RFM_FILL_INTERVAL 16
#define RFM_FLOOR_NS	  (1000000000ULL / 16)

/* The outcomes of a sampled packet. A positive value is the shift of its weight. */
#define RFM_RECORDED 0
#define RFM_THINNED  -1
/* The ring had no room for a packet of this weight. */
#define RFM_DROPPED(weight_shift) (-16 - (__s32)(weight_shift))

/*
 * Returns CLOCK_BOOTTIME to the precision of a jiffy: an exact reading costs 30 ns on a virtual machine, so the
 * clock is read once for each jiffy that has packets.
 */
static __always_inline __u64 rfm_coarse_ns(struct rfm_cpu *cpu)
{
	__u64 jiffies = bpf_jiffies64();

	if (cpu->jiffies != jiffies) {
		cpu->jiffies = jiffies;
		cpu->jiffies_ns = bpf_ktime_get_boot_ns();
	}
	return cpu->jiffies_ns;
}

/* Returns the fill level of the ring in 32nds. */
static __always_inline __u32 rfm_ring_fill(void)
{
	return bpf_ringbuf_query(&rfm_ring, BPF_RB_AVAIL_DATA) >> (rfm_ring_shift - 5);
}

/*
 * Sets k by the fill level: each 32nd above the half doubles it, against bursts. Sixteen times a second its floor
 * follows the peak of the level by one step: with a k that stays near what the reader can take the variance is far
 * lower than with one that follows every change of the level.
 */
static __noinline int rfm_set_thin_shift(struct rfm_cpu *cpu)
{
	__u32 fill = rfm_ring_fill(), shift;
	__u64 now = rfm_coarse_ns(cpu);
	__u64 intervals = (now - cpu->floor_ns) / RFM_FLOOR_NS;

	if (fill > cpu->peak_fill)
		cpu->peak_fill = fill;
	if (intervals) {
		if (cpu->peak_fill > RFM_HALF_FULL && cpu->floor_shift < RFM_MAX_THIN_SHIFT)
			cpu->floor_shift++;
		else if (cpu->peak_fill < RFM_QUARTER_FULL)
			cpu->floor_shift -=
				intervals < cpu->floor_shift ? intervals : cpu->floor_shift;
		cpu->peak_fill = 0;
		cpu->floor_ns = now;
	}
	shift = cpu->floor_shift;
	if (fill > RFM_HALF_FULL)
		shift += fill - RFM_HALF_FULL;
	cpu->thin_shift = shift < RFM_MAX_THIN_SHIFT ? shift : RFM_MAX_THIN_SHIFT;
	cpu->thin_ns = now;
	return 0;
}

/*
 * Draws whether a packet without a record starts one. Returns RFM_THINNED, or the shift of its weight, which stays
 * the one of the draw if thin_shift changes.
 */
static __always_inline int rfm_draw(struct rfm_cpu *cpu)
{
	__u32 shift;

	if (!cpu->thin_shift)
		return RFM_RECORDED;
	if (cpu->thin_ns != rfm_coarse_ns(cpu))
		rfm_set_thin_shift(cpu);
	shift = cpu->thin_shift & 15;
	return bpf_get_prandom_u32() & ((1U << shift) - 1) ? RFM_THINNED : (int)shift;
}

/* Must be called after a record was sent for a packet without one: reads the fill level now and then. */
static __always_inline void rfm_record_started(struct rfm_cpu *cpu)
{
	if (cpu->thin_shift || !(++cpu->started & (RFM_FILL_INTERVAL - 1)))
		rfm_set_thin_shift(cpu);
}

#endif
