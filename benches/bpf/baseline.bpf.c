// SPDX-License-Identifier: GPL-2.0
/*
 * The baselines of the monitor: the plain ways to do parts of its work, each as short as possible,
 * and the generator that turns one test frame into many flows.
 */
#include "bench.h"

struct key {
	__u32 src[4];
	__u32 dst[4];
	__u32 ports;
	__u32 protocol;
};

struct flow {
	__u64 packets;
	__u64 bytes;
	__u64 first;
	__u64 last;
};

struct event {
	struct key key;
	__u64 bytes;
	__u64 time;
	__u64 more[6]; /* as long as the monitor's */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} counters SEC(".maps");

struct {
	__uint(type, MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct key);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} events SEC(".maps");

#define WAKEUP_BATCH 64 /* as the monitor's default */
__u32 unwoken;

struct {
	__uint(type, MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} behind SEC(".maps");

static __always_inline void *data_of(struct __sk_buff *skb)
{
	return (void *)(long)skb->data;
}

static __always_inline void *end_of(struct __sk_buff *skb)
{
	return (void *)(long)skb->data_end;
}

static __always_inline int parse(struct __sk_buff *skb, struct key *key)
{
	struct ipv4_frame *four = data_of(skb);
	struct ipv6_frame *six = data_of(skb);

	if ((void *)(four + 1) > end_of(skb))
		return -1;
	if (four->ethertype == ETHERTYPE_IPV4) {
		key->src[0] = four->saddr;
		key->dst[0] = four->daddr;
		key->ports = four->ports;
		key->protocol = four->protocol;
		return 0;
	}
	if (four->ethertype != ETHERTYPE_IPV6 || (void *)(six + 1) > end_of(skb))
		return -1;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		key->src[i] = six->saddr[i];
		key->dst[i] = six->daddr[i];
	}
	key->ports = six->ports;
	key->protocol = six->protocol;
	return 0;
}

SEC("tcx/ingress")
int empty(struct __sk_buff *skb __attribute__((unused)))
{
	return TCX_NEXT;
}

/* Makes every packet one of the next flow in the sequence, and passes it to the program under test. */
SEC("tcx/ingress")
int generator(struct __sk_buff *skb)
{
	become(data_of(skb), end_of(skb), next_flow());
	bpf_tail_call(skb, &behind, 0);
	return 1; /* nothing is behind: the caller takes this for an error */
}

SEC("tcx/ingress")
int count_only(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct flow *all = bpf_map_lookup_elem(&counters, &zero);

	if (all) {
		all->packets++;
		all->bytes += skb->len;
	}
	return TCX_NEXT;
}

SEC("tcx/ingress")
int lru_hash(struct __sk_buff *skb)
{
	__u64 now = bpf_ktime_get_ns();
	struct key key = {};
	struct flow *flow;

	if (parse(skb, &key))
		return TCX_NEXT;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (flow) {
		__sync_fetch_and_add(&flow->packets, 1);
		__sync_fetch_and_add(&flow->bytes, skb->len);
		flow->last = now;
	} else {
		struct flow fresh = {.packets = 1, .bytes = skb->len, .first = now, .last = now};

		bpf_map_update_elem(&flows, &key, &fresh, 0);
	}
	return TCX_NEXT;
}

SEC("tcx/ingress")
int ring_event(struct __sk_buff *skb)
{
	struct key key = {};
	struct event *event;

	if (parse(skb, &key))
		return TCX_NEXT;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return TCX_NEXT;
	event->key = key;
	event->bytes = skb->len;
	event->time = bpf_ktime_get_ns();
#pragma unroll
	for (int i = 0; i < 6; i++)
		event->more[i] = 0;
	bpf_ringbuf_submit(event,
			   ++unwoken % WAKEUP_BATCH ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP);
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "GPL";
