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
#include "key.bpf.h"
#include "parse.bpf.h"
#include "skb.bpf.h"
#include "count.bpf.h"
#include "record.bpf.h"
#include "flow_cache.bpf.h"

/* One record for this packet alone. Returns non-zero if the ring was full. */
static __always_inline int rfm_send(struct __sk_buff *skb, __u32 slot, __u32 direction,
				    const struct rfm_key *key, const struct rfm_transport *tr,
				    const struct rfm_wire *wire, __u32 rate)
{
	struct rfm_cpu *cpu = rfm_this_cpu();
	struct rfm_flow_record *rec;

	if (!cpu)
		return -1;
	rec = bpf_ringbuf_reserve(&rfm_ring, sizeof(*rec), 0);
	if (!rec)
		return -1;
	rfm_fill(rec, skb, slot, direction, key, tr, wire, rate);
	rec->first = rec->last = bpf_ktime_get_boot_ns();
	bpf_ringbuf_submit(rec, rfm_wakeup_flags(cpu));
	return 0;
}

/* Adds this packet to the record of its flow. Returns non-zero if there was no room. */
static __always_inline int rfm_combine(struct __sk_buff *skb, __u32 slot, __u32 direction,
				       __u32 family, const struct rfm_key *key,
				       const struct rfm_transport *tr, const struct rfm_wire *wire,
				       __u32 rate)
{
	struct rfm_cpu *cpu = rfm_this_cpu();
	struct rfm_cache_entry *entry;

	if (!cpu)
		return -1;
	if (!cpu->armed)
		rfm_arm(cpu);
	entry = rfm_cache_place(cpu, key, family, rate);
	if (!entry)
		return -1;
	if (!entry->record.sample_rate) {
		rfm_fill(&entry->record, skb, slot, direction, key, tr, wire, rate);
		entry->record.first = entry->record.last = rfm_coarse_ns(cpu);
		return 0;
	}
	entry->record.packets += wire->packets;
	entry->record.bytes += wire->bytes;
	entry->record.octets += wire->octets;
	entry->record.last = rfm_coarse_ns(cpu);
	entry->record.tcp_flags |= tr->tcp_flags;
	return 0;
}

static __always_inline int rfm_handle(struct __sk_buff *skb, __u32 direction, int cached)
{
	__u32 slot = rfm_slot(skb->ifindex);
	__u32 rate = rfm_config.sample_rate;
	__u32 tag_len = skb->vlan_present ? VLAN_HLEN : 0;
	__u32 gso_size = skb->gso_size;
	struct rfm_cursor cur = {.ctx = skb, .load = rfm_load_skb, .len = skb->len};
	struct rfm_wire wire = {.packets = 1};
	struct rfm_counters *counters;
	struct rfm_transport tr = {};
	struct rfm_key key = {};
	union rfm_network net;
	__u32 start;
	int lost;

	if (!slot)
		return TCX_NEXT;
	counters = rfm_counters_of((slot & RFM_SLOT_MASK) - 1, direction);
	if (!counters)
		return TCX_NEXT;

	start = direction == RFM_INGRESS ? rfm_frame_start(skb, slot) : 0;
	wire.bytes = cur.len - start + tag_len;
	net = rfm_network_of(skb, slot, start);
	if (net.family >= RFM_OTHER) {
		if (net.family > RFM_OTHER)
			rfm_count_parse_error(net.family - RFM_FAMILIES);
		rfm_count_add(&counters->crossed[RFM_OTHER], 1, wire.bytes);
		return TCX_NEXT;
	}
	net.family &= 1; /* known already, but not to the verifier of old kernels */

	if (gso_size)
		rfm_wire_of_segments(&wire, skb->gso_segs, gso_size, cur.len - start, tag_len,
				     net.offset - start, rfm_repeated_len(skb, net.word) - start);
	rfm_count_add(&counters->crossed[net.family], wire.packets, wire.bytes);
	if (!rfm_take(counters, rate))
		return TCX_NEXT;

	if (rfm_parse_flow(&cur, &net, rfm_extensions_skb, &key, &tr))
		return TCX_NEXT;
	if (!gso_size)
		wire.octets = tr.octets;
	rfm_count_add(&counters->taken[net.family], wire.packets, wire.bytes);
	key.word[4] = rfm_join((slot & RFM_SLOT_MASK) - 1, tr.ports);
	key.word[5] =
		rfm_join(rfm_join16(net.vlan_outer, net.vlan_inner),
			 rfm_join16(rfm_join8(tr.protocol, direction), rfm_join8(net.family, 0)));
	if (cached)
		lost = rfm_combine(skb, slot, direction, net.family, &key, &tr, &wire, rate);
	else
		lost = rfm_send(skb, slot, direction, &key, &tr, &wire, rate);
	if (lost) {
		rfm_count_add(&counters->lost[net.family], wire.packets, wire.bytes);
		rfm_add(&counters->lost_records, 1);
	}
	return TCX_NEXT;
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
