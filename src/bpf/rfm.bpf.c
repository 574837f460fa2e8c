// SPDX-License-Identifier: GPL-2.0
/*
 * The monitor: one program for each direction, attached by TCX or clsact. They look and count; they
 * always return TCX_NEXT (which clsact reads as TC_ACT_UNSPEC), so that every packet goes on to the
 * next program and to the stack, unchanged.
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
#include "flow_cache.bpf.h"

/* One record for this packet alone. Returns non-zero if the ring was full. */
static __always_inline int rfm_send(const struct rfm_taken *packet)
{
	struct rfm_cpu *cpu = rfm_this_cpu();
	struct rfm_flow_record *rec;

	if (!cpu)
		return -1;
	rec = bpf_ringbuf_reserve(&rfm_ring, sizeof(*rec), 0);
	if (!rec)
		return -1;
	rfm_fill(rec, packet);
	rec->first = rec->last = bpf_ktime_get_boot_ns();
	bpf_ringbuf_submit(rec, rfm_wakeup_flags(cpu));
	return 0;
}

/* Adds this packet to the record of its flow. Returns non-zero if there was no room. */
static __always_inline int rfm_combine(const struct rfm_taken *packet)
{
	struct rfm_cpu *cpu = rfm_this_cpu();
	struct rfm_cache_entry *entry;

	if (!cpu)
		return -1;
	if (cpu->armed == RFM_OTHER_CPU)
		return rfm_send(packet);
	if (!cpu->armed)
		rfm_arm(cpu);
	entry = rfm_cache_place(cpu, &packet->key, packet->family, packet->rate);
	if (!entry)
		return -1;
	if (!entry->record.sample_rate) {
		rfm_fill(&entry->record, packet);
		entry->record.first = entry->record.last = rfm_coarse_ns(cpu);
		/* perhaps where the sweep has been in this round: it must not be the last one */
		cpu->found = 1;
		return 0;
	}
	entry->record.packets += packet->wire.packets;
	entry->record.bytes += packet->wire.bytes;
	entry->record.octets += packet->octets;
	entry->record.last = rfm_coarse_ns(cpu);
	entry->record.tcp_flags |= packet->transport.tcp_flags;
	return 0;
}

/* IP octets of a GSO packet's segments: frames without what stands before the IP header. */
static __always_inline __u32 rfm_segment_octets(struct __sk_buff *skb, __u32 origin,
						const union rfm_network *net,
						const union rfm_wire *wire)
{
	__u32 tag_len = skb->vlan_present ? VLAN_HLEN : 0;

	return wire->bytes - wire->packets * (net->offset - rfm_frame_start(skb, origin) + tag_len);
}

/*
 * The part for taken packets, a global function of its own that the verifier goes through once; so
 * what it must know comes in five words. Non-zero: the packet was lost on its way to userspace.
 */
static __always_inline int rfm_take(struct __sk_buff *skb, __u64 network, __u32 origin, __u32 rate,
				    __u64 wire, int plain, int cached)
{
	__u32 direction = origin & RFM_ORIGIN_EGRESS ? RFM_EGRESS : RFM_INGRESS;
	union rfm_network net = {.word = network};
	struct rfm_taken packet = {.skb = skb, .wire.word = wire, .rate = rate};
	struct rfm_transport *tr = &packet.transport;
	struct rfm_cursor cur;

	net.family &= 1; /* never RFM_OTHER */
	packet.family = net.family;
	packet.direction = direction;
	packet.has_macs = !(origin & RFM_SLOT_L3);
	rfm_open(&cur, skb);
	if (rfm_parse_flow(&cur, &net, rfm_extensions_skb, &packet.key, tr))
		return -1;
	packet.octets = tr->octets;
	if (!plain && skb->gso_size)
		packet.octets = rfm_segment_octets(skb, origin, &net, &packet.wire);
	packet.key.word[4] = rfm_join((origin & RFM_SLOT_MASK) - 1, tr->ports);
	packet.key.word[5] =
		rfm_join(rfm_join16(net.vlan_outer, net.vlan_inner),
			 rfm_join16(rfm_join8(tr->protocol, direction), rfm_join8(net.family, 0)));
	return cached ? rfm_combine(&packet) : rfm_send(&packet);
}

__noinline int rfm_take_cached(struct __sk_buff *skb, __u64 network, __u32 origin, __u32 rate,
			       __u64 wire)
{
	return rfm_take(skb, network, origin, rate, wire, 0, 1);
}

__noinline int rfm_take_event(struct __sk_buff *skb, __u64 network, __u32 origin, __u32 rate,
			      __u64 wire)
{
	return rfm_take(skb, network, origin, rate, wire, 0, 0);
}

/* Counts a packet that has flows, and takes it if it is its turn. */
static __always_inline int rfm_count(struct __sk_buff *skb, struct rfm_counters *counters,
				     const union rfm_network *net, union rfm_wire wire,
				     __u32 origin, int plain, int cached)
{
	int shared = !cached && rfm_atomic;
	__u32 rate = rfm_config.sample_rate;
	int lost;

	rfm_count_add(&counters->crossed[net->family], wire, shared);
	if (!plain && rate > 1 && wire.packets > 1) {
		wire = rfm_sample_segments(wire, rate);
		if (!wire.packets)
			return TCX_NEXT;
	} else if (!rfm_is_taken(counters, rate, shared)) {
		return TCX_NEXT;
	}
	rfm_count_add(&counters->taken[net->family], wire, shared);
	if (!cached)
		lost = rfm_take_event(skb, net->word, origin, rate, wire.word);
	else if (plain)
		lost = rfm_take(skb, net->word, origin, rate, wire.word, 1, 1);
	else
		lost = rfm_take_cached(skb, net->word, origin, rate, wire.word);
	if (lost) {
		rfm_count_add(&counters->lost[net->family], wire, shared);
		rfm_add(&counters->lost_records, 1, shared);
	}
	return TCX_NEXT;
}

static __always_inline int rfm_handle(struct __sk_buff *skb, __u32 direction, int cached)
{
	__u32 origin = rfm_slot(skb->ifindex);
	union rfm_wire wire = {.packets = 1};
	struct rfm_counters *counters;
	union rfm_network net;

	if (!origin)
		return TCX_NEXT;
	counters = rfm_counters_of((origin & RFM_SLOT_MASK) - 1, direction);
	if (!counters)
		return TCX_NEXT;
	if (direction == RFM_EGRESS)
		origin |= RFM_ORIGIN_EGRESS;
	else if (origin & (RFM_SLOT_IPSEC | RFM_SLOT_MEMBER) && rfm_is_second_pass(skb, origin))
		return TCX_NEXT;

	wire.bytes = skb->len;
	if (rfm_is_plain_v4(skb, origin, &net))
		return rfm_count(skb, counters, &net, wire, origin, 1, cached);
	if (rfm_is_plain_v6(skb, origin, &net))
		return rfm_count(skb, counters, &net, wire, origin, 1, cached);

	net.word = rfm_find_network(skb, origin);
	wire.word = rfm_measure(skb, net.word, origin);
	if (net.family >= RFM_OTHER) {
		int shared = !cached && rfm_atomic;

		if (net.family > RFM_OTHER && net.family != RFM_UNREAD)
			rfm_count_parse_error(net.family - RFM_FAMILIES, shared);
		rfm_count_add(&counters->crossed[RFM_OTHER], wire, shared);
		return TCX_NEXT;
	}
	net.family &= 1; /* known already, but not to the verifier */
	return rfm_count(skb, counters, &net, wire, origin, 0, cached);
}

SEC("tcx/ingress")
int rfm_ingress(struct __sk_buff *skb)
{
	return rfm_handle(skb, RFM_INGRESS, 1);
}

SEC("tcx/egress")
int rfm_egress(struct __sk_buff *skb)
{
	return rfm_handle(skb, RFM_EGRESS, 1);
}

/* Does this kernel pin timers to their CPU (6.7)? 0 if so. Run once, before anything is attached. */
SEC("tcx/ingress")
int rfm_probe_timer(struct __sk_buff *skb __attribute__((unused)))
{
	struct rfm_cpu *cpu = rfm_this_cpu();

	return cpu ? rfm_arm(cpu) : -1;
}

/* Without the flow cache: nothing newer than kernel 5.10, since old kernels refuse even dead code. */
SEC("tcx/ingress")
int rfm_ingress_ev(struct __sk_buff *skb)
{
	return rfm_handle(skb, RFM_INGRESS, 0);
}

SEC("tcx/egress")
int rfm_egress_ev(struct __sk_buff *skb)
{
	return rfm_handle(skb, RFM_EGRESS, 0);
}

char LICENSE[] SEC("license") = "GPL";
