// SPDX-License-Identifier: GPL-2.0
/*
 * The monitor: one program for each direction, attached by TCX or clsact. They only count, and always return
 * TCX_NEXT (which clsact reads as TC_ACT_UNSPEC), so that every packet continues to the next program and to the
 * stack, unchanged.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "rfm.h"
#include "common.bpf.h"
#include "key.bpf.h"
#include "parse.bpf.h"
#include "count.bpf.h"
#include "skb.bpf.h"
#include "record.bpf.h"
#include "adaptive.bpf.h"
#include "flow_cache.bpf.h"

/* Sends a record of this packet only. Returns what became of it, as all functions do up to rfm_count_packet(). */
static __always_inline int rfm_emit_event(const struct rfm_sampled *packet)
{
	struct rfm_cpu *cpu = rfm_this_cpu();
	struct rfm_flow_record *rec;
	int outcome;

	if (!cpu)
		return RFM_DROPPED(0);
	outcome = rfm_draw(cpu);
	if (outcome < 0)
		return outcome;
	rec = bpf_ringbuf_reserve(&rfm_ring, sizeof(*rec), 0);
	if (!rec)
		return RFM_DROPPED(outcome);
	rfm_init_record(rec, packet, outcome);
	rec->first = rec->last = bpf_ktime_get_boot_ns();
	bpf_ringbuf_submit(rec, rfm_wakeup_flags(cpu));
	rfm_record_started(cpu);
	return outcome;
}

/* Adds this packet to the record of its flow, or starts one. */
static __always_inline int rfm_cache_update(const struct rfm_sampled *packet)
{
	struct rfm_cpu *cpu = rfm_this_cpu();
	struct rfm_cache_entry *entry;
	int outcome;

	if (!cpu)
		return RFM_DROPPED(0);
	if (cpu->sweeper == RFM_OTHER_CPU)
		return rfm_emit_event(packet);
	if (!cpu->sweeper)
		rfm_arm_timer(cpu);
	entry = rfm_cache_find(cpu, &packet->key, packet->family, packet->rate, &outcome);
	if (!entry)
		return outcome;
	if (!entry->record.sample_rate) {
		rfm_init_record(&entry->record, packet, outcome);
		entry->record.first = entry->record.last = rfm_coarse_ns(cpu);
		/* the sweep may have passed this entry in this round: it must not be the last round */
		cpu->round_records = 1;
		return outcome;
	}
	entry->record.packets += packet->size.packets;
	entry->record.frame_bytes += packet->size.bytes;
	entry->record.ip_bytes += packet->ip_bytes;
	entry->record.last = rfm_coarse_ns(cpu);
	entry->record.tcp_flags |= packet->transport.tcp_flags;
	return RFM_RECORDED;
}

/* Returns the IP bytes of a GSO packet's segments: frames without the headers before IP. */
static __always_inline __u32 rfm_gso_ip_bytes(struct __sk_buff *skb, __u32 hook_flags,
					      const union rfm_l3_header *l3,
					      const union rfm_size *size)
{
	__u32 tag_len = skb->vlan_present ? VLAN_HLEN : 0;

	return size->bytes -
	       size->packets * (l3->offset - rfm_frame_start(skb, hook_flags) + tag_len);
}

/* See rfm_forget(): what follows does not depend on the path through the parser. */
static __always_inline void rfm_forget_packet(struct rfm_sampled *packet, __u32 noise)
{
#pragma unroll
	for (int i = 0; i < RFM_KEY_WORDS; i++)
		packet->key.word[i] = rfm_forget(packet->key.word[i], noise);
	packet->size.word = rfm_forget(packet->size.word, noise);
	packet->ip_bytes = rfm_forget(packet->ip_bytes, noise);
	packet->rate = rfm_forget(packet->rate, noise);
	packet->transport.tcp_flags = rfm_forget(packet->transport.tcp_flags, noise);
	packet->transport.tos = rfm_forget(packet->transport.tos, noise);
}

/*
 * Handles sampled packets. The verifier checks the global functions around it once; therefore the arguments are
 * five words.
 */
static __always_inline int rfm_sample(struct __sk_buff *skb, __u64 l3_header, __u32 hook_flags,
				      __u32 rate, __u64 size, int plain, int cached)
{
	__u32 direction = hook_flags & RFM_HOOK_EGRESS ? RFM_EGRESS : RFM_INGRESS;
	union rfm_l3_header l3 = {.word = plain ? l3_header : rfm_forget(l3_header, skb->len)};
	struct rfm_sampled packet = {.skb = skb, .size.word = size, .rate = rate};
	struct rfm_transport *tr = &packet.transport;
	struct rfm_cursor cur;
	int last;

	l3.family &= 1; /* never RFM_OTHER */
	packet.family = l3.family;
	packet.direction = direction;
	packet.has_macs = !(hook_flags & RFM_SLOT_L3);
	rfm_cursor_init(&cur, skb);
	last = rfm_parse_network(&cur, &l3, rfm_extensions_skb, &packet.key, tr);
	if (last < 0)
		return RFM_DROPPED(0);
	if (!plain)
		last = rfm_forget_network(&cur, &packet.key, tr, last);
	rfm_parse_after_network(&cur, &l3, tr, last);
	packet.ip_bytes = tr->ip_bytes;
	if (!plain && skb->gso_size)
		packet.ip_bytes = rfm_gso_ip_bytes(skb, hook_flags, &l3, &packet.size);
	packet.key.word[4] = rfm_pack32((hook_flags & RFM_SLOT_MASK) - 1, tr->ports);
	packet.key.word[5] =
		rfm_pack32(rfm_pack16(l3.vlan_outer, l3.vlan_inner),
			   rfm_pack16(rfm_pack8(tr->protocol, direction), rfm_pack8(l3.family, 0)));
	if (!plain)
		rfm_forget_packet(&packet, skb->len);
	return cached ? rfm_cache_update(&packet) : rfm_emit_event(&packet);
}

RFM_GLOBAL int rfm_sample_cached(struct __sk_buff *skb, __u64 l3_header, __u32 hook_flags,
				 __u32 rate, __u64 size)
{
	return rfm_forget(rfm_sample(skb, l3_header, hook_flags, rate, size, 0, 1), skb->len);
}

RFM_GLOBAL int rfm_sample_event(struct __sk_buff *skb, __u64 l3_header, __u32 hook_flags,
				__u32 rate, __u64 size)
{
	return rfm_forget(rfm_sample(skb, l3_header, hook_flags, rate, size, 0, 0), skb->len);
}

/* Counts a sampled packet that its own record or an earlier one does not count once. */
static __always_inline void rfm_count_outcome(struct rfm_counters *counters, __u32 family,
					      union rfm_size size, int outcome, int shared)
{
	int shift = outcome > 0 ? outcome : RFM_DROPPED(0) - outcome;
	struct rfm_count *added, *dropped;

	family &= 1;
	if (outcome == RFM_THINNED) {
		rfm_count_add(&counters->thinned[family], size, shared);
		return;
	}
	added = &counters->added[family];
	rfm_add(&added->packets, rfm_weighted(size.packets, shift) - size.packets, shared);
	rfm_add(&added->bytes, rfm_weighted(size.bytes, shift) - size.bytes, shared);
	if (outcome > 0)
		return;
	dropped = &counters->dropped[family];
	rfm_add(&dropped->packets, rfm_weighted(size.packets, shift), shared);
	rfm_add(&dropped->bytes, rfm_weighted(size.bytes, shift), shared);
	rfm_add(&counters->dropped_records, 1, shared);
}

/* Counts a packet that has flows, and samples it if the countdown is at its end. */
static __always_inline int rfm_count_packet(struct __sk_buff *skb, struct rfm_counters *counters,
					    const union rfm_l3_header *l3, union rfm_size size,
					    __u32 hook_flags, int plain, int cached)
{
	int shared = !cached && rfm_atomic;
	__u32 rate = rfm_config.sample_rate;
	int outcome;

	rfm_count_add(&counters->observed[l3->family], size, shared);
	if (!plain && rate > 1 && size.packets > 1) {
		size = rfm_sample_segments(size, rate);
		if (!size.packets)
			return TCX_NEXT;
	} else if (!rfm_is_sampled(counters, rate, shared)) {
		return TCX_NEXT;
	}
	rfm_count_add(&counters->sampled[l3->family], size, shared);
	if (!plain || !cached) {
		size.word = rfm_forget(size.word, skb->len);
		rate = rfm_forget(rate, skb->len);
		hook_flags = rfm_forget(hook_flags, skb->len);
	}
	if (!cached)
		outcome = rfm_sample_event(skb, l3->word, hook_flags, rate, size.word);
	else if (plain)
		outcome = rfm_sample(skb, l3->word, hook_flags, rate, size.word, 1, 1);
	else
		outcome = rfm_sample_cached(skb, l3->word, hook_flags, rate, size.word);
	if (outcome)
		rfm_count_outcome(counters, l3->family, size, outcome, shared);
	return TCX_NEXT;
}

static __always_inline int rfm_handle_packet(struct __sk_buff *skb, __u32 direction, int cached)
{
	__u32 hook_flags = rfm_slot(skb->ifindex);
	union rfm_size size = {.packets = 1};
	struct rfm_counters *counters;
	union rfm_l3_header l3;

	if (!hook_flags)
		return TCX_NEXT;
	counters = rfm_counters_of((hook_flags & RFM_SLOT_MASK) - 1, direction);
	if (!counters)
		return TCX_NEXT;
	if (direction == RFM_EGRESS)
		hook_flags |= RFM_HOOK_EGRESS;
	else if (hook_flags & (RFM_SLOT_IPSEC | RFM_SLOT_MEMBER) &&
		 rfm_is_second_pass(skb, hook_flags))
		return TCX_NEXT;

	size.bytes = skb->len;
	if (rfm_is_plain_v4(skb, hook_flags, &l3))
		return rfm_count_packet(skb, counters, &l3, size, hook_flags, 1, cached);
	if (rfm_is_plain_v6(skb, hook_flags, &l3))
		return rfm_count_packet(skb, counters, &l3, size, hook_flags, 1, cached);

	hook_flags = rfm_forget(hook_flags, skb->len);
	l3.word = rfm_find_l3_header(skb, hook_flags);
	size.word = rfm_measure_size(skb, l3.word, hook_flags);
	if (l3.family >= RFM_OTHER) {
		int shared = !cached && rfm_atomic;

		if (l3.family > RFM_OTHER && l3.family != RFM_UNREAD)
			rfm_count_parse_error(l3.family - RFM_FAMILIES, shared);
		rfm_count_add(&counters->observed[RFM_OTHER], size, shared);
		return TCX_NEXT;
	}
	l3.family &= 1; /* it is below 2, but the verifier of old kernels cannot prove it */
	return rfm_count_packet(skb, counters, &l3, size, hook_flags, 0, cached);
}

SEC("tcx/ingress")
int rfm_ingress(struct __sk_buff *skb)
{
	return rfm_handle_packet(skb, RFM_INGRESS, 1);
}

SEC("tcx/egress")
int rfm_egress(struct __sk_buff *skb)
{
	return rfm_handle_packet(skb, RFM_EGRESS, 1);
}

/* Does this kernel pin timers to their CPU (6.7)? 0 if so. Run once, before anything is attached. */
SEC("tcx/ingress")
int rfm_probe_timer(struct __sk_buff *skb __attribute__((unused)))
{
	struct rfm_cpu *cpu = rfm_this_cpu();

	return cpu ? rfm_arm_timer(cpu) : -1;
}

/* Without the flow cache: uses nothing newer than kernel 5.10, since old kernels reject even dead code. */
SEC("tcx/ingress")
int rfm_ingress_ev(struct __sk_buff *skb)
{
	return rfm_handle_packet(skb, RFM_INGRESS, 0);
}

SEC("tcx/egress")
int rfm_egress_ev(struct __sk_buff *skb)
{
	return rfm_handle_packet(skb, RFM_EGRESS, 0);
}

char LICENSE[] SEC("license") = "GPL";
