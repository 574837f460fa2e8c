// SPDX-License-Identifier: GPL-2.0
/*
 * The load of the benches: with live frames (BPF_F_TEST_XDP_LIVE_FRAMES), a device receives packets
 * as if from its driver, each of the next flow in the sequence.
 */
#include "bench.h"

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	become((void *)(long)ctx->data, (void *)(long)ctx->data_end, next_flow());
	return XDP_PASS;
}

/* The flows are of different destinations. */
SEC("xdp")
int flood_hosts(struct xdp_md *ctx)
{
	struct ipv4_frame *frame = (void *)(long)ctx->data;
	__u32 flow = next_flow();

	if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	become(frame, (void *)(long)ctx->data_end, flow);
	frame->daddr = flow << 8 | 10; /* 10.x.y.z */
	frame->saddr = 0x010200c6;     /* 198.0.2.1 */
	return XDP_PASS;
}

/* Replaces the monitor and does nothing: it shows the cost of only the hook. */
SEC("tcx/ingress")
int bench_empty(struct __sk_buff *skb __attribute__((unused)))
{
	return TCX_NEXT;
}

struct record {
	__u64 word[14]; /* as long as the monitor's */
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} events SEC(".maps");

/* The minimum of every monitor that sends an event for each packet: no parsing, no wakeup. */
SEC("tcx/ingress")
int bench_ring_event(struct __sk_buff *skb)
{
	struct record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record)
		return TCX_NEXT;
#pragma unroll
	for (int i = 0; i < 14; i++)
		record->word[i] = skb->len;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "GPL";
