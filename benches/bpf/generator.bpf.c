// SPDX-License-Identifier: GPL-2.0
/*
 * The generator of the firewall's bench: each frame has the next address in the sequence as its source. The frame
 * is passed to the program under test, by itself, or sent from one end of a wire and received at the other.
 */
#include "bench.h"

#define MAP_TYPE_DEVMAP 14

static long (*const bpf_redirect_map)(void *map, __u64 key, __u64 flags) = (void *)51;

struct {
	__uint(type, MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} behind SEC(".maps");

struct {
	__uint(type, MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} wire SEC(".maps");

/* Sets the source address. In IPv6 it is the second and third group: 2000:XXXX:XXXX::/48. */
static __always_inline void come_from(struct xdp_md *ctx, __u32 address)
{
	struct ipv4_frame *four = (void *)(long)ctx->data;
	struct ipv6_frame *six = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	if ((void *)(four + 1) > end)
		return;
	if (four->ethertype == ETHERTYPE_IPV4) {
		four->saddr = address;
	} else if ((void *)(six + 1) <= end) {
		six->saddr[0] = 0x0020 | address << 16;
		six->saddr[1] = address >> 16;
	}
}

SEC("xdp.frags")
int empty(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

SEC("xdp.frags")
int empty_drop(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_DROP;
}

SEC("xdp.frags")
int generator(struct xdp_md *ctx)
{
	come_from(ctx, next_flow());
	bpf_tail_call(ctx, &behind, 0);
	return XDP_ABORTED; /* nothing is behind: the caller takes this for an error */
}

/* Run with live frames. */
SEC("xdp")
int send(struct xdp_md *ctx)
{
	come_from(ctx, next_flow());
	return bpf_redirect_map(&wire, 0, 0);
}

char LICENSE[] SEC("license") = "GPL";
